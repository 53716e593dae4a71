package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// user is whom the image names; the pods have to name the group as well, or it is root's.
const user = "65532"

// confinement looks at processes of pods from outside.
func (s *realCluster) confinement(ctx context.Context) error {
	for _, which := range []struct{ namespace, name, program string }{
		{harness.OperatorNamespace, "pnp-operator", "manager"},
		{harness.OperatorNamespace, "pnp-operator-certificate", "manager"},
		{simulatorNamespace, "pnp-simulator", "iothub-simulator"},
	} {
		pods, err := s.pods(ctx, which.namespace, which.name)
		if err != nil {
			return err
		}
		if len(pods) == 0 {
			return harness.Missed("pods of "+which.name, "some", "none")
		}
		for _, pod := range pods {
			if err := s.confined(pod, which.program); err != nil {
				return err
			}
		}
	}
	if err := s.collectsInTime(ctx); err != nil {
		return err
	}
	return s.spread(ctx)
}

// processOf is the process of a pod's only container.
func processOf(pod corev1.Pod, program string) (cluster.Process, error) {
	found, err := cluster.ProcessesOf(string(pod.UID), program)
	if err == nil && len(found) != 1 {
		err = harness.Missed("processes of pod "+pod.Name, "1 of "+program, strconv.Itoa(len(found)))
	}
	if err != nil {
		return cluster.Process{}, err
	}
	return found[0], nil
}

func (s *realCluster) confined(pod corev1.Pod, program string) error {
	p, err := processOf(pod, program)
	if err != nil {
		return err
	}
	limit, err := p.MemoryLimit()
	if err != nil {
		return fmt.Errorf("the memory limit of %s: %w", pod.Name, err)
	}
	four := strings.Join([]string{user, user, user, user}, " ")
	none := "0000000000000000"
	got := fmt.Sprintf("uid %s, gid %s, groups %s, capabilities %s of %s, no new privileges %s, seccomp %s, root read-only %t, memory %d",
		p.Status["Uid"], p.Status["Gid"], p.Status["Groups"], p.Status["CapEff"], p.Status["CapBnd"], p.Status["NoNewPrivs"], p.Status["Seccomp"], p.RootIsReadOnly(), limit)
	want := fmt.Sprintf("uid %s, gid %s, groups %s, capabilities %s of %s, no new privileges 1, seccomp 2, root read-only true, memory %d",
		four, four, user, none, none, pod.Spec.Containers[0].Resources.Limits.Memory().Value())
	return s.Check("process of pod "+pod.Name, want, got, got == want)
}

// collectsInTime wants Go to keep to 85 % of what the container may have.
func (s *realCluster) collectsInTime(ctx context.Context) error {
	pods, err := s.pods(ctx, harness.OperatorNamespace, "pnp-operator")
	if err != nil {
		return err
	}
	metrics, err := s.metricsOf(ctx, pods[0])
	if err != nil {
		return err
	}
	want := float64(pods[0].Spec.Containers[0].Resources.Limits.Memory().Value() / 100 * 85)
	got := metrics["go_gc_gomemlimit_bytes"]
	return s.Check("bytes that Go keeps to, of the container's", fmt.Sprint(want), fmt.Sprint(got), got == want)
}

// metricsOf reads a pod's metrics as somebody who may, and wants them refused to others.
func (s *realCluster) metricsOf(ctx context.Context, pod corev1.Pod) (map[string]float64, error) {
	url := "https://" + net.JoinHostPort(pod.Status.PodIP, "8443") + "/metrics"
	if status, _, err := s.fetch(ctx, url, ""); err != nil || status != http.StatusUnauthorized {
		return nil, errors.Join(err, harness.Missed("metrics without a token", "401", strconv.Itoa(status)))
	}
	const account = "cluster-test-metrics"
	if _, err := s.Kubectl.Output(ctx, "", "create", "serviceaccount", account, "-n", "default"); err != nil {
		return nil, err
	}
	if _, err := s.Kubectl.Output(ctx, "", "create", "clusterrolebinding", account, "--clusterrole=pnp-operator-metrics-reader", "--serviceaccount=default:"+account); err != nil {
		return nil, err
	}
	token, err := s.Kubectl.Output(ctx, "", "create", "token", account, "-n", "default")
	if err != nil {
		return nil, err
	}
	status, text, err := s.fetch(ctx, url, strings.TrimSpace(token))
	if err != nil || status != http.StatusOK {
		return nil, errors.Join(err, harness.Missed("metrics with a token", "200", strconv.Itoa(status)))
	}
	return plainMetrics(text), nil
}

// plainMetrics are those that have no labels.
func plainMetrics(text []byte) map[string]float64 {
	metrics := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			metrics[name] = number
		}
	}
	return metrics
}

// fetch gets something from node 1. Nobody can check the certificate, which the operator has signed itself.
func (s *realCluster) fetch(ctx context.Context, url, token string) (int, []byte, error) {
	client := s.clientWithin(nil)
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

// spread wants the replicas on different nodes.
func (s *realCluster) spread(ctx context.Context) error {
	pods, err := s.pods(ctx, harness.OperatorNamespace, "pnp-operator")
	if err != nil {
		return err
	}
	nodes := map[string]bool{}
	for _, pod := range pods {
		nodes[pod.Spec.NodeName] = true
	}
	return s.Check("nodes that the replicas are on", "2", strconv.Itoa(len(nodes)), len(nodes) == 2)
}

// outOfMemory gives the operator less memory than it needs. It is killed, and a rollback mends that.
func (s *realCluster) outOfMemory(ctx context.Context) error {
	if err := s.starve(ctx); err != nil {
		return err
	}
	began := time.Now()
	if _, err := s.helmOutput(ctx, "rollback", release, "--namespace", harness.OperatorNamespace, "--wait"); err != nil {
		return err
	}
	s.Out.Passf("helm rollback: ready after %.1f s", time.Since(began).Seconds())
	return s.acknowledges(ctx, "after the rollback", takenOver) // the leader may have been killed with the lease
}

func (s *realCluster) starve(ctx context.Context) error {
	const memory = "12Mi" // with Go's own limit off, or it would collect all the time instead
	if _, err := s.helmOutput(ctx, "upgrade", release, s.Path("charts/pnp-operator"), "--namespace", harness.OperatorNamespace, "--reuse-values",
		"--set", "extraEnv[0].name=GOMEMLIMIT,extraEnv[0].value=off", "--set", "resources.limits.memory="+memory, "--set", "resources.requests.memory="+memory); err != nil {
		return err
	}
	state := ""
	late := func() error { return harness.Missed("a pod with "+memory, "OOMKilled, exit code 137", state) }
	if err := harness.PollEvery(ctx, 200*time.Millisecond, time.Minute, late, func(ctx context.Context) (bool, error) {
		pods, err := s.pods(ctx, harness.OperatorNamespace, "pnp-operator")
		for _, pod := range pods {
			for _, container := range pod.Status.ContainerStatuses {
				for _, end := range []*corev1.ContainerStateTerminated{container.LastTerminationState.Terminated, container.State.Terminated} {
					if end == nil {
						continue
					}
					state = fmt.Sprintf("%s, exit code %d", end.Reason, end.ExitCode)
					if end.Reason == "OOMKilled" && end.ExitCode == 137 {
						return true, nil
					}
				}
			}
		}
		return false, errors.Join(err, s.Machinery.Check())
	}); err != nil {
		return err
	}
	s.Out.Passf("a pod with %s is killed: %s", memory, state)
	return nil
}

// kill ends the process of a pod without warning.
func (s *realCluster) kill(ctx context.Context, name string) error {
	_, pid, err := s.placeOf(ctx, name)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// policies wants NetworkPolicies enforced, where there is what does that: the operator works, and its pod reaches nothing else.
func (s *realCluster) policies(ctx context.Context) error {
	if !s.Machinery.EnforcesPolicies() {
		s.Out.Sayf("left out: nothing here enforces NetworkPolicies; hack/tools/build.sh kube-router bin/k8s builds what does")
		return nil
	}
	if _, err := s.installChart(ctx, "simulator.enabled=true"); err != nil {
		return err
	}
	const closed = "10.250.0.2:10250" // of kubelet
	if err := s.reaches(ctx, closed, true); err != nil {
		return err
	}
	if _, err := s.upgradeChart(ctx, "simulator.enabled=true", "networkPolicy.enabled=true"); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return s.reaches(ctx, closed, false) },
		func() error { return s.reaches(ctx, "10.96.0.1:443", true) },
		func() error { return s.applyTrial(ctx) },
		func() error { return s.refuses(ctx) },
		func() error { return s.acknowledges(ctx, "with a NetworkPolicy", handedOver) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return s.uninstall(ctx)
}

// reaches wants the operator's pod to reach an address, or not to; it takes a moment until a policy counts.
func (s *realCluster) reaches(ctx context.Context, address string, want bool) error {
	pods, err := s.pods(ctx, harness.OperatorNamespace, "pnp-operator")
	if err != nil {
		return err
	}
	p, err := processOf(pods[0], "manager")
	if err != nil {
		return err
	}
	what := fmt.Sprintf("the operator's pod reaches %s", address)
	got := ""
	late := func() error { return harness.Missed(what, strconv.FormatBool(want), got) }
	if err := harness.PollEvery(ctx, 200*time.Millisecond, 20*time.Second, late, func(ctx context.Context) (bool, error) {
		within, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		conn, err := cluster.DialFrom(within, p.Pid, "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		got = fmt.Sprint(err)
		return (err == nil) == want, nil
	}); err != nil {
		return err
	}
	s.Out.Passf("%s: %t", what, want)
	return nil
}
