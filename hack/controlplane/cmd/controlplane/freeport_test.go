package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// The command is in a module of its own, which does without the main one.
func TestFreeportIsACopy(t *testing.T) {
	copied, err := os.ReadFile("freeport.go")
	if err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile("../../../freeport/freeport.go")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Replace(string(original), "\npackage freeport\n", "\npackage main\n", 1) != string(copied) {
		t.Error("freeport.go is no copy of hack/freeport/freeport.go: copy it, and have it say package main")
	}
}

func TestEndpointsAreNoPortsOfOutgoingConnections(t *testing.T) {
	at, err := freeEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	first, last, err := outgoing(rangeFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{at.etcd, at.peer, at.api} {
		port, err := strconv.Atoi(url[strings.LastIndex(url, ":")+1:])
		if err != nil || port < unprivileged || port >= first && port <= last {
			t.Errorf("%s is one of %d to %d, or privileged", url, first, last)
		}
	}
}
