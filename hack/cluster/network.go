package cluster

import (
	"fmt"
	"net/netip"
)

// The addresses of a cluster. No route leads out of its nodes, so that each cluster of a machine has the same ones.
const (
	podAddresses     = "10.244.0.0/16"
	serviceAddresses = "10.96.0.0/16"
	kubernetesIP     = "10.96.0.1"
	dnsIP            = "10.96.0.10"
)

// Server is the API server's address within a node.
var Server = "https://" + nodeIP(1) + ":6443"

// NodeName is the name of node 1, 2...
func NodeName(number int) string { return fmt.Sprintf("node-%d", number) }

func nodeIP(number int) string {
	return netip.AddrFrom4([4]byte{10, 250, 0, byte(1 + number)}).String()
}

// podsOf are the addresses of a node's pods.
func podsOf(number int) string { return fmt.Sprintf("10.244.%d.0/24", number-1) }

// cable is the other end of node 1's interface: it leads nowhere until node 2 has it.
const cable = "cable"

// networkSteps are the arguments of ip that give a node its network. Node 1 has a cable; the others get an end of it, so
// that there are two nodes at most.
func networkSteps(number, of int) [][]string {
	steps := [][]string{{"link", "set", "lo", "up"}}
	if number == 1 {
		steps = append(steps, []string{"link", "add", "eth0", "type", "veth", "peer", "name", cable})
		if of == 1 {
			steps = append(steps, []string{"link", "set", cable, "up"})
		}
	}
	steps = append(steps,
		[]string{"link", "set", "eth0", "up"},
		[]string{"address", "add", nodeIP(number) + "/24", "dev", "eth0"},
		[]string{"route", "add", "default", "dev", "eth0"}, // Services have addresses that some route has to lead to
	)
	for other := 1; other <= of; other++ {
		if other != number {
			steps = append(steps, []string{"route", "add", podsOf(other), "via", nodeIP(other)})
		}
	}
	return steps
}
