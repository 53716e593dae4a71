package harness

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// NewCommand is a program that ends, with what it started, when ctx ends. A terminal's interrupt
// does not reach it directly.
func NewCommand(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// CauseOf is the reason why ctx ended, if it did, which says more than that the program was killed.
func CauseOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// ShellQuoted is an argument or value as a POSIX shell reads it.
func ShellQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// CommandLine shows a command as a user would type it.
func CommandLine(words ...string) string {
	shown := make([]string, len(words))
	for i, word := range words {
		shown[i] = word
		if word == "" || strings.ContainsAny(word, " \t\n'\"\\$`&|;<>(){}[]*?!~#") {
			shown[i] = ShellQuoted(word)
		}
	}
	return strings.Join(shown, " ")
}
