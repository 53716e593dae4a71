package freeport

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestPortsAreOutsideOfThoseOfOutgoingConnections(t *testing.T) {
	first, last, err := outgoing(rangeFile)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := Ports(200)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range ports {
		port, err := strconv.Atoi(text)
		if err != nil || port < unprivileged || port >= first && port <= last {
			t.Errorf("port %s is one of outgoing connections, %d to %d, or a privileged one: %v", text, first, last, err)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:"+text)
		if err != nil {
			t.Errorf("port %s is not free: %v", text, err)
			continue
		}
		_ = listener.Close()
	}
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 200 {
		t.Error("a port was given twice")
	}
}

func TestAPortIsRefused(t *testing.T) {
	ports, err := Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	mine, _ := strconv.Atoi(ports[0])
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for name, port := range map[string]int{"held by this process": mine, "served": listener.Addr().(*net.TCPAddr).Port} {
		if take(port) == nil {
			t.Errorf("port %d, %s, is given away", port, name)
		}
	}
}

// Another process is this test program again: it tries to hold a port.
func TestAPortIsRefusedToAnotherProcess(t *testing.T) {
	const variable = "FREEPORT_TEST_HOLDS"
	if text := os.Getenv(variable); text != "" {
		port, _ := strconv.Atoi(text)
		if Hold(port) == nil {
			t.Fatal("got the port")
		}
		return
	}
	ports, err := Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAPortIsRefusedToAnotherProcess$")
	cmd.Env = append(os.Environ(), variable+"="+ports[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRangeIsRead(t *testing.T) {
	for text, want := range map[string]bool{"32768\t60999\n": true, "none": false, "": false} {
		file := filepath.Join(t.TempDir(), "range")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		first, last, err := outgoing(file)
		if got := err == nil && first == 32768 && last == 60999; got != want {
			t.Errorf("%q is read as %d to %d, %v", text, first, last, err)
		}
	}
	if _, _, err := outgoing(filepath.Join(t.TempDir(), "missing")); err == nil || !strings.Contains(err.Error(), "outgoing") {
		t.Errorf("a file that is missing: %v", err)
	}
}

func TestOutside(t *testing.T) {
	for name, test := range map[string]struct{ first, last, from, to, count int }{
		"the usual range":                {32768, 60999, 10000, 65535, 22768 + 4536},
		"ports below it":                 {10000, 65535, 1024, 9999, 8976},
		"few ports above, so others too": {9000, 65000, 1024, 65535, 7976 + 535},
		"hardly any are left":            {1100, 65530, 1024, 65535, 76 + 5},
	} {
		ports := outside(test.first, test.last)
		if len(ports) != test.count || ports[0] != test.from || ports[len(ports)-1] != test.to {
			t.Errorf("%s: %d ports from %d to %d, want %+v", name, len(ports), ports[0], ports[len(ports)-1], test)
		}
	}
	if ports := outside(1024, 65535); len(ports) != 0 {
		t.Errorf("none is outside, got %d", len(ports))
	}
}
