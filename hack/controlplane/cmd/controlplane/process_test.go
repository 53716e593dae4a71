package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a fake program does, by the content of the file beside it.
const (
	behaviourFile = "behaviour"
	failing       = "failing"  // prints thirty lines and exits with status 3
	stubborn      = "stubborn" // ignores SIGTERM and never ends
)

// TestMain is also the fake programs: links to this binary that have the names of the real ones.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == etcd {
		fakeProgram()
	}
	os.Exit(m.Run())
}

func fakeProgram() {
	behaviour, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), behaviourFile))
	if err != nil {
		fmt.Println(err)
		os.Exit(4)
	}
	if string(behaviour) == stubborn {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("not stopping")
		time.Sleep(time.Minute) // in case a failed test leaves it behind
		os.Exit(5)
	}
	for line := range 30 {
		fmt.Printf("line %d.\n", line+1)
	}
	os.Exit(3)
}

// newFake returns a control plane whose programs are fakes of one behaviour.
func newFake(t *testing.T, behaviour string) fixture {
	t.Helper()
	f := fixture{T: t, assets: t.TempDir(), dir: filepath.Join(t.TempDir(), "dir")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range startOrder {
		if err := os.Symlink(self, filepath.Join(f.assets, name)); err != nil {
			t.Fatal(err)
		}
	}
	f.write(filepath.Join(f.assets, behaviourFile), behaviour)
	return f
}

func (f fixture) write(path, content string) {
	f.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		f.Fatal(err)
	}
}

func TestUpShowsTheLogOfAPartThatFails(t *testing.T) {
	f := newFake(t, failing)
	_, err := f.controlplane("up")
	f.wantError(err, "etcd exited with exit status 3")
	f.wantError(err, filepath.Join(f.dir, "etcd.log")+":\nline 11.\n")
	f.wantError(err, "line 30.")
	f.wantNoProcess()
}

func TestUpKillsWhatNeitherBecomesReadyNorStops(t *testing.T) {
	f := newFake(t, stubborn)
	_, err := f.controlplane("up", "-timeout=500ms", "-grace=200ms")
	f.wantError(err, "etcd is not ready: context deadline exceeded")
	f.wantError(err, "not stopping")
	f.wantNoProcess()
}

func TestDownLeavesOtherProcessesAlone(t *testing.T) {
	f := newFake(t, stubborn)
	other := exec.Command(filepath.Join(f.assets, etcd), "--data-dir="+f.dir+"-other/etcd")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Wait() }()
	defer func() { _ = other.Process.Kill() }()
	for name, pid := range map[string]string{
		"the pid of this test":                   strconv.Itoa(os.Getpid()),
		"the pid of another folder's etcd":       strconv.Itoa(other.Process.Pid),
		"the pid of a process that has ended":    strconv.Itoa(endedPid(t)),
		"the pid of init":                        "1",
		"a process group":                        "-1",
		"a pid file that was cut short as empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			f.write(filepath.Join(f.dir, marker), markerText)
			f.write(filepath.Join(f.dir, "etcd.pid"), pid)
			out, err := f.controlplane("down", "-grace=200ms")
			f.wantError(err, "")
			if strings.Contains(out, "stopped") {
				t.Errorf("down printed %q", out)
			}
			if _, err := os.Stat(filepath.Join(f.dir, "etcd.pid")); err == nil {
				t.Error("the pid file is still there")
			}
			if err := other.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the other etcd: %v", err)
			}
		})
	}
}

// endedPid returns the pid of a process that has ended.
func endedPid(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestUpRefusesAFolderThatHoldsOtherFiles(t *testing.T) {
	f := newFake(t, failing)
	precious := filepath.Join(f.dir, "etcd", "precious")
	f.write(precious, "data")
	_, err := f.controlplane("up")
	f.wantError(err, "holds other files")
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestDownOfAFolderThatIsNotThereSaysSo(t *testing.T) {
	f := newFake(t, failing)
	out, err := f.controlplane("down")
	f.wantError(err, "")
	if !strings.Contains(out, "No control plane was started") {
		t.Errorf("down printed %q", out)
	}
	if _, err := os.Stat(f.dir); err == nil {
		t.Error("down made the folder")
	}
}

func TestUpNamesTheScriptThatBuildsWhatIsMissing(t *testing.T) {
	f := fixture{T: t, assets: t.TempDir(), dir: t.TempDir()}
	_, err := f.controlplane("up")
	f.wantError(err, "hack/controlplane/build.sh")
}

func TestAnUnusableCommandLineIsAnswered(t *testing.T) {
	for name, args := range map[string][]string{
		"with no command":         {},
		"with an unknown command": {"sideways", "dir"},
		"with no folder":          {"up"},
		"with two folders":        {"up", "a", "b"},
		"with an empty folder":    {"down", ""},
		"with an unknown flag":    {"up", "-color", "dir"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr strings.Builder
			if err := execute(t.Context(), args, io.Discard, &stderr); !errors.Is(err, errUsage) {
				t.Errorf("error is %v", err)
			}
			if !strings.Contains(stderr.String(), "usage: controlplane") {
				t.Errorf("printed %q", stderr.String())
			}
		})
	}
}
