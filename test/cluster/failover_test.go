package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/hack/liveness"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// Times of docs/operations.md, with room for a machine that has other work.
const (
	handedOver = 15 * time.Second // a leader that is told to end gives its lease up
	takenOver  = 45 * time.Second // a lease runs out
)

// failovers end the leader in two ways, and declare another value at once.
func (s *realCluster) failovers(ctx context.Context) error {
	leader, err := s.awaitLeader(ctx, "", 30*time.Second)
	if err != nil {
		return err
	}
	h := s.hammer()
	_, err = s.Kubectl.Output(ctx, "", "delete", "pod", leader, "-n", harness.OperatorNamespace, "--wait=false")
	err = firstOf(err, s.acknowledges(ctx, "after the leader was deleted", handedOver), s.whole(ctx))
	if err := firstOf(err, s.letIn(h.stop(), "while the leader is deleted")); err != nil {
		return err
	}
	if leader, err = s.awaitLeader(ctx, leader, 30*time.Second); err != nil {
		return err
	}
	if err := s.kill(ctx, leader); err != nil {
		return err
	}
	return firstOf(s.acknowledges(ctx, "after the leader was killed", takenOver), s.whole(ctx))
}

// whole waits until all replicas are ready.
func (s *realCluster) whole(ctx context.Context) error {
	_, err := s.Kubectl.Output(ctx, "", "rollout", "status", "deployment/pnp-operator", "-n", harness.OperatorNamespace, "--timeout=90s")
	return err
}

// drain empties node 2 while wrong objects come, and takes it back.
func (s *realCluster) drain(ctx context.Context) error {
	node := cluster.NodeName(2)
	h := s.hammer()
	began := time.Now()
	_, err := s.Kubectl.Output(ctx, "", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s")
	took := time.Since(began)
	err = firstOf(err, s.whole(ctx))
	if err := firstOf(err, s.letIn(h.stop(), fmt.Sprintf("during a drain of %.1f s", took.Seconds()))); err != nil {
		return err
	}
	if _, err := s.Kubectl.Output(ctx, "", "rollout", "status", "deployment/pnp-simulator", "-n", simulatorNamespace, "--timeout=60s"); err != nil {
		return err
	}
	if _, err := s.Kubectl.Output(ctx, "", "uncordon", node); err != nil {
		return err
	}
	if err := s.acknowledges(ctx, "after the drain", 30*time.Second); err != nil {
		return err
	}
	if err := s.restart(ctx); err != nil {
		return err
	}
	return s.spread(ctx)
}

// cut are the rules that lose all that leaves or reaches a node.
const cut = `table inet cut {
	chain in { type filter hook prerouting priority -400; iifname "eth0" drop; }
	chain out { type filter hook postrouting priority 400; oifname "eth0" drop; }
}
`

// partition cuts off node 2 while the leader is on it. The drain has left the simulator on node 1.
func (s *realCluster) partition(ctx context.Context) error {
	leader, pid, err := s.leadFromNode2(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.nft(ctx, cut, "-f", "-"); err != nil {
		return err
	}
	err = s.acknowledges(ctx, "after the leader's node was cut off", takenOver)
	if err == nil {
		err = s.endedItself(ctx, leader, pid, began)
	}
	if err := errors.Join(err, s.nft(ctx, "", "delete", "table", "inet", "cut")); err != nil {
		return err
	}
	if err := s.AwaitNode(ctx, cluster.NodeName(2)); err != nil {
		return err
	}
	return s.whole(ctx)
}

// leadFromNode2 returns a leader that is on node 2, with its process. For a moment pods get onto no other node then, and afterwards
// the other replica is back on node 1.
func (s *realCluster) leadFromNode2(ctx context.Context) (string, int, error) {
	leader, err := s.awaitLeader(ctx, "", 30*time.Second)
	if err != nil {
		return "", 0, err
	}
	if on, pid, err := s.placeOf(ctx, leader); err != nil || on == cluster.NodeName(2) {
		return leader, pid, err
	}
	if _, err := s.Kubectl.Output(ctx, "", "cordon", cluster.NodeName(1)); err != nil {
		return "", 0, err
	}
	if err := s.replace(ctx, leader); err != nil {
		return "", 0, err
	}
	if leader, err = s.awaitLeader(ctx, leader, 30*time.Second); err != nil {
		return "", 0, err
	}
	if _, err := s.Kubectl.Output(ctx, "", "uncordon", cluster.NodeName(1)); err != nil {
		return "", 0, err
	}
	pods, err := s.pods(ctx, harness.OperatorNamespace, "pnp-operator")
	if err != nil {
		return "", 0, err
	}
	for _, pod := range pods {
		if pod.Name != leader {
			if err := s.replace(ctx, pod.Name); err != nil {
				return "", 0, err
			}
		}
	}
	if err := s.spread(ctx); err != nil {
		return "", 0, err
	}
	_, pid, err := s.placeOf(ctx, leader)
	return leader, pid, err
}

// replace deletes a pod and waits for another one in its place.
func (s *realCluster) replace(ctx context.Context, pod string) error {
	if _, err := s.Kubectl.Output(ctx, "", "delete", "pod", pod, "-n", harness.OperatorNamespace); err != nil {
		return err
	}
	return s.whole(ctx)
}

// placeOf is the node of a pod, and its process.
func (s *realCluster) placeOf(ctx context.Context, name string) (node string, pid int, err error) {
	pods, err := s.pods(ctx, harness.OperatorNamespace, "pnp-operator")
	if err != nil {
		return "", 0, err
	}
	for _, pod := range pods {
		if pod.Name == name {
			p, err := processOf(pod, "manager")
			return pod.Spec.NodeName, p.Pid, err
		}
	}
	return "", 0, fmt.Errorf("pod %q is not there", name)
}

// endedItself wants a leader that cannot renew its lease to end, though nobody can tell it to.
func (s *realCluster) endedItself(ctx context.Context, name string, pid int, began time.Time) error {
	late := func() error { return harness.Missed("the leader that was cut off", "ends", name+" goes on") }
	if err := harness.PollEvery(ctx, 200*time.Millisecond, time.Minute, late, func(context.Context) (bool, error) {
		return liveness.HasEnded(pid, func(int) bool { return true }), nil
	}); err != nil {
		return err
	}
	s.Out.Passf("the leader that was cut off ended, within %.1f s", time.Since(began).Seconds())
	return nil
}

// nft changes the packet filter of node 2.
func (s *realCluster) nft(ctx context.Context, rules string, args ...string) error {
	words, err := s.Machinery.Within(2, "nft", args...)
	if err != nil {
		return err
	}
	k := harness.Kubectl{Program: words[0], Kubeconfig: s.Kubectl.Kubeconfig, Out: s.Out}
	_, err = k.Output(ctx, rules, words[1:]...)
	return err
}
