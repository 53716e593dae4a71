package main

import (
	"strconv"
	"strings"
	"testing"
)

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
