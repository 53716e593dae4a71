package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dial connects to an IP address from a node.
func (c *Cluster) Dial(ctx context.Context, number int, network, address string) (net.Conn, error) {
	pid := c.node(number).inner()
	if pid == 0 {
		return nil, fmt.Errorf("%s does not run", NodeName(number))
	}
	return DialFrom(ctx, pid, network, address)
}

// DialFrom connects to an IP address from the network of a process. A socket stays in the network of the thread that made it.
func DialFrom(ctx context.Context, pid int, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this function, and nobody else gets into that network
		if err := enterNetwork(pid); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	is := <-done
	return is.conn, is.err
}

func enterNetwork(pid int) error {
	space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("finding the network of process %d: %w", pid, err)
	}
	defer func() { _ = space.Close() }()
	if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network of process %d: %w", pid, err)
	}
	return nil
}
