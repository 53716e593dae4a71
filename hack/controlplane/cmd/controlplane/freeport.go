// Package freeport finds ports for servers that are started, ended and started again where their
// clients know them. It needs Linux.
//
// A port that the kernel chooses (listening at port 0) comes from the range of outgoing
// connections. While its server is down, any client can be given that very port as its own, one
// that dials the server in vain included, and the server cannot come back.
//
// The command controlplane, which is a module of its own, has a copy of this file: a test there
// compares the two.
package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

const (
	// rangeFile has the first and the last port of outgoing connections.
	rangeFile = "/proc/sys/net/ipv4/ip_local_port_range"
	// Ports from unprivileged on are for everybody, ports from unassigned on for no well-known
	// server.
	unprivileged, unassigned, highest = 1024, 10_000, 65_535
	// enough is how many ports there have to be to choose from.
	enough = 1000
)

// held are what keeps others from the ports that this process was given, until it ends.
var held struct {
	sync.Mutex
	locks []net.Listener
}

// Addresses returns loopback addresses, HOST:PORT, whose ports are free, differ, and are no ports
// of outgoing connections. Nobody else is given one of them while this process lives.
func Addresses(n int) ([]string, error) {
	first, last, err := outgoing(rangeFile)
	if err != nil {
		return nil, err
	}
	ports := outside(first, last)
	var found []string
	for _, i := range rand.Perm(len(ports)) {
		if len(found) == n {
			return found, nil
		}
		if take(ports[i]) == nil {
			found = append(found, net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])))
		}
	}
	return nil, fmt.Errorf("of the ports outside of %d to %d, those of outgoing connections, %d are free, fewer than %d",
		first, last, len(found), n)
}

// Ports is Addresses without the host.
func Ports(n int) ([]string, error) {
	addresses, err := Addresses(n)
	for i, address := range addresses {
		_, addresses[i], _ = net.SplitHostPort(address)
	}
	return addresses, err
}

// outgoing reads the range of ports that outgoing connections are given.
func outgoing(file string) (first, last int, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, fmt.Errorf("finding the ports of outgoing connections: %w", err)
	}
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		return 0, 0, fmt.Errorf("reading %s, which is %q: %w", file, text, err)
	}
	return first, last, nil
}

// outside lists the ports beside a range. Those of well-known servers are among them only if there
// are few others.
func outside(first, last int) []int {
	var ports []int
	for _, from := range []int{unassigned, unprivileged} {
		ports = nil
		for port := from; port <= highest; port++ {
			if port < first || port > last {
				ports = append(ports, port)
			}
		}
		if len(ports) >= enough {
			break
		}
	}
	return ports
}

// take holds a port at which nobody listens.
func take(port int) error {
	if err := Hold(port); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return err // it stays held: nobody else needs to look at it
	}
	return listener.Close()
}

// Hold keeps others that use this package from a port while this process lives, whether a server
// listens there or is down. It fails where somebody else holds it. The lock is an abstract socket:
// it has the scope of ports, leaves no file, and ends with the process.
func Hold(port int) error {
	lock, err := net.Listen("unix", "@pnp-operator-port-"+strconv.Itoa(port))
	if err != nil {
		return fmt.Errorf("port %d is held: %w", port, err)
	}
	held.Lock()
	defer held.Unlock()
	held.locks = append(held.locks, lock)
	return nil
}
