package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/liveness"
)

// Process is a program that runs on its own, known by its pid file in dir whoever started it.
// Replicas of a program have a suffix each. Its log is in dir, too, unless log names another file.
type Process struct {
	Name, Dir, Replica, Log string
	Under                   []string // the words of a command that becomes the program, which it is given with its arguments
	Env                     []string // KEY=VALUE beside ours
}

func (p Process) pidFile() string { return filepath.Join(p.Dir, p.Name+p.Replica+".pid") }

// LogFile returns where the process logs.
func (p Process) LogFile() string {
	if p.Log != "" {
		return p.Log
	}
	return filepath.Join(p.Dir, p.Name+p.Replica+".log")
}

// Start starts the program as a session of its own, so that neither a terminal's interrupt nor our
// end reaches it. The channel receives how it ended, should it end before we do.
func (p Process) Start(program string, args ...string) (<-chan error, error) {
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the log of %s: %w", p.Name, err)
	}
	defer func() { _ = log.Close() }()
	words := slices.Concat(p.Under, []string{program}, args)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := os.WriteFile(p.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("recording the pid of %s: %w", p.Name, err), cmd.Process.Kill())
	}
	return ended, nil
}

// Pid returns the pid of the process, 0 if it does not run. A recorded pid counts only if the
// command line of its process names our folder: the pid of a process that has ended may be given to
// another.
func (p Process) Pid() int {
	data, err := os.ReadFile(p.pidFile())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 || !p.is(pid) {
		return 0
	}
	return pid
}

func (p Process) is(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	program, args, _ := bytes.Cut(cmdline, []byte{0})
	return err == nil && filepath.Base(string(program)) == p.Name && bytes.Contains(args, []byte("="+p.Dir+"/"))
}

// Stop ends the process, if it runs, and tells whether it did. One that does not end by itself is
// killed.
func (p Process) Stop(grace time.Duration) (bool, error) {
	pid := p.Pid()
	if pid == 0 {
		return false, p.forget()
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 5 * time.Second}} {
		if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return false, fmt.Errorf("sending %s to %s, pid %d: %w", step.signal, p.Name, pid, err)
		}
		for end := time.Now().Add(step.wait); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if liveness.HasEnded(pid, p.is) {
				return true, p.forget()
			}
		}
	}
	return false, fmt.Errorf("%s, pid %d, does not end even when killed", p.Name, pid)
}

// Kill ends the process without warning, and returns the command line that starts it as it was.
func (p Process) Kill(ctx context.Context) ([]string, error) {
	pid := p.Pid()
	if pid == 0 {
		return nil, fmt.Errorf("%s does not run", p.Name)
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, fmt.Errorf("reading how %s was started: %w", p.Name, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return nil, fmt.Errorf("killing %s: %w", p.Name, err)
	}
	const within = 10 * time.Second
	late := func() error { return miss{p.Name, "ends within " + within.String(), "runs though it was killed"} }
	return strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), Poll(ctx, within, late, func(context.Context) (bool, error) {
		return liveness.HasEnded(pid, p.is), nil
	})
}

func (p Process) forget() error {
	if err := os.Remove(p.pidFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the pid file of %s: %w", p.Name, err)
	}
	return nil
}

// LogTail returns the last n lines of the process's log.
func (p Process) LogTail(n int) string {
	data, err := os.ReadFile(p.LogFile())
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// begin starts the program and waits until it is ready. One that does not get there does not stay: it
// would go on beside the one that is started next.
func (p Process) begin(ctx context.Context, within time.Duration, ready func() error, program string, args ...string) (<-chan error, error) {
	ended, err := p.Start(program, args...)
	if err != nil {
		return nil, err
	}
	if err := p.Await(ctx, ended, within, ready); err != nil {
		_, stopping := p.Stop(0)
		return nil, errors.Join(err, stopping)
	}
	return ended, nil
}

// Await polls until ready returns nil. It fails when the time is up, when ctx ends, or when the
// process ended.
func (p Process) Await(ctx context.Context, ended <-chan error, within time.Duration, ready func() error) error {
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case how := <-ended:
			return fmt.Errorf("%w; the end of its log:\n%s", EndedEarly(p, how), p.LogTail(20))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			return fmt.Errorf("%s is not ready after %s: %w; the end of its log:\n%s", p.Name, within, err, p.LogTail(20))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
