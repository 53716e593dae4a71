package harness

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/liveness"
)

// shell is a process that runs a script, under the name that it is found by.
func shell(t *testing.T, script string) (Process, <-chan error) {
	t.Helper()
	p := Process{Name: "sh", Dir: t.TempDir()}
	ended, err := p.Start("sh", "-c", script, "--folder="+p.Dir+"/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Stop(0); err != nil {
			t.Error(err)
		}
	})
	return p, ended
}

// reported reports whether the script has printed something.
func (p Process) reported() error {
	if p.LogTail(1) == "" {
		return errors.New("it has printed nothing")
	}
	return nil
}

func TestAProcessIsStoppedByWhoeverKnowsItsFolder(t *testing.T) {
	for name, script := range map[string]string{
		"one that ends when asked":  "echo ready; while :; do sleep 0.02; done",
		"one that has to be killed": "trap '' TERM; echo ready; while :; do sleep 0.02; done",
	} {
		t.Run(name, func(t *testing.T) {
			p, ended := shell(t, script)
			if err := p.Await(t.Context(), ended, 10*time.Second, p.reported); err != nil {
				t.Fatal(err)
			}
			other := Process{Name: p.Name, Dir: p.Dir}
			if other.Pid() == 0 {
				t.Fatal("it is not found")
			}
			if ran, err := other.Stop(100 * time.Millisecond); !ran || err != nil {
				t.Errorf("stop = %v, %v", ran, err)
			}
			<-ended
			if ran, err := other.Stop(0); ran || err != nil {
				t.Errorf("the second stop = %v, %v", ran, err)
			}
		})
	}
}

func TestAForeignProcessIsLeftAlone(t *testing.T) {
	other := exec.Command("sh", "-c", "while :; do sleep 0.02; done", "--folder=/elsewhere/")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Wait() }()
	defer func() { _ = other.Process.Kill() }()
	for name, pid := range map[string]string{
		"of another folder": strconv.Itoa(other.Process.Pid),
		"of this test":      strconv.Itoa(os.Getpid()),
		"of init":           "1",
		"of a group":        "-" + strconv.Itoa(other.Process.Pid),
		"cut short":         "",
	} {
		t.Run(name, func(t *testing.T) {
			p := Process{Name: "sh", Dir: t.TempDir()}
			file(t, p.Dir, "sh.pid", pid)
			if ran, err := p.Stop(0); ran || err != nil {
				t.Errorf("stop = %v, %v", ran, err)
			}
			if _, err := os.Stat(p.pidFile()); err == nil {
				t.Error("the pid file is still there")
			}
		})
	}
}

func TestAProcessThatEndsTooEarlyShowsItsLog(t *testing.T) {
	p, ended := shell(t, "echo no luck; exit 3")
	err := p.Await(t.Context(), ended, 10*time.Second, func() error { return errors.New("not ready") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("error is %v", err)
	}
}

func TestAProcessThatIsNotReadyInTimeDoesNotStay(t *testing.T) {
	p := Process{Name: "sh", Dir: t.TempDir()}
	var pid int
	never := func() error { pid = p.Pid(); return errors.New("it never is") }
	if _, err := p.begin(t.Context(), 100*time.Millisecond, never, "sh", "-c", "while :; do sleep 0.02; done", "--folder="+p.Dir+"/"); err == nil {
		t.Fatal("it is said to be ready")
	}
	if pid == 0 || !liveness.HasEnded(pid, p.is) {
		t.Errorf("process %d goes on", pid)
	}
}
