package node

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"time"
)

// longestLine is how many bytes a line of a program may have.
const longestLine = 1 << 20

// Process is a program that is told what to do by lines of JSON, and tells by such lines what became of
// it. It ends with its standard input.
type Process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}
}

// Start starts a program. Each of its lines is handed to read, and once it has ended ended is called.
func Start(cmd *exec.Cmd, read func(line []byte), ended func()) (*Process, error) {
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd, stdin, make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer ended()
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, longestLine)
		for lines.Scan() {
			read(lines.Bytes())
		}
	}()
	return p, nil
}

// Tell writes a line. It must not be called twice at a time.
func (p *Process) Tell(line any) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = p.stdin.Write(append(raw, '\n'))
	return err
}

// Ended is closed once the program prints no more lines.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop has the program end, and waits for that.
func (p *Process) Stop() error {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill() // it may have ended by now
	}
	return p.cmd.Wait()
}
