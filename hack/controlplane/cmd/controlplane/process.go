package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pollInterval is how often a process or server is looked at while something is waited for.
const pollInterval = 50 * time.Millisecond

// part is one program of the control plane, known by its pid file in dir whoever started it.
type part struct {
	name string
	dir  string
}

func (p part) logFile() string { return filepath.Join(p.dir, p.name+".log") }
func (p part) pidFile() string { return filepath.Join(p.dir, p.name+".pid") }

// child is a part that this process started.
type child struct {
	part
	exited chan struct{} // closed once the process has been reaped
	err    error         // how it exited; to be read after exited is closed
}

// start starts the part as a session of its own, so that neither a terminal's interrupt nor the end of this process reaches
// it. The pid file is written before start returns.
func (p part) start(binary string, args []string) (*child, error) {
	log, err := os.Create(p.logFile())
	if err != nil {
		return nil, fmt.Errorf("making the log of %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(binary, args...)
	cmd.Dir = p.dir
	// Nothing else of the environment: etcd takes any ETCD_ variable for a flag.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + os.TempDir()}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	started := &child{part: p, exited: make(chan struct{})}
	go func() {
		started.err = cmd.Wait()
		close(started.exited)
	}()
	if err := os.WriteFile(p.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("recording the pid of %s: %w", p.name, err), cmd.Process.Kill())
	}
	return started, nil
}

// errNotRunning is returned for a part that has no process.
var errNotRunning = errors.New("not running")

// find returns the part's process or errNotRunning. The process is found by its recorded pid and is the part only if its
// command line says so: the pid of a process that has ended may be given to another.
func (p part) find() (*os.Process, error) {
	data, err := os.ReadFile(p.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("reading the pid of %s: %w", p.name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return nil, errNotRunning // cut short as it was written
	}
	// The handle is taken before the check, so that what is checked is what gets signalled.
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("finding the process of %s: %w", p.name, err)
	}
	if !p.is(pid) {
		return nil, errors.Join(errNotRunning, process.Release())
	}
	return process, nil
}

// is tells whether process pid is the part: its program has the part's name and an argument names a path in dir.
func (p part) is(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	program, args, _ := bytes.Cut(cmdline, []byte{0})
	return filepath.Base(string(program)) == p.name && bytes.Contains(args, []byte("="+p.dir+"/"))
}

// stop ends the part's process, if it runs, and tells whether it did. A process that does not end within grace is killed.
func (p part) stop(grace time.Duration) (bool, error) {
	process, err := p.find()
	if errors.Is(err, errNotRunning) {
		return false, p.forget()
	}
	if err != nil {
		return false, err
	}
	defer process.Release() // it cannot fail for a process found
	for _, step := range []struct {
		signal os.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 10 * time.Second}} {
		if err := process.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false, fmt.Errorf("sending %s to %s, pid %d: %w", step.signal, p.name, process.Pid, err)
		}
		if p.awaitEnd(process.Pid, step.wait) {
			return true, p.forget()
		}
	}
	return false, fmt.Errorf("%s, pid %d, does not end even when killed", p.name, process.Pid)
}

// awaitEnd tells whether process pid, which is the part, ends within the time given.
func (p part) awaitEnd(pid int, within time.Duration) bool {
	for end := time.Now().Add(within); !HasEnded(pid, p.is); time.Sleep(pollInterval) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// forget removes the pid file.
func (p part) forget() error {
	if err := os.Remove(p.pidFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the pid file of %s: %w", p.name, err)
	}
	return nil
}

// logTail returns the last n lines of the part's log.
func (p part) logTail(n int) string {
	data, err := os.ReadFile(p.logFile())
	if err != nil {
		return fmt.Sprintf("(unreadable: %v)", err)
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
