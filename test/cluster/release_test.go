package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/test/harness"
	"github.com/pnp-operator/pnp-operator/test/harness/realcluster"
)

// leaseName is that of the operator's replicas.
const leaseName = "pnp-operator.iot.pnp-operator.io"

// helmOutput runs helm within the cluster and returns what it prints.
func (s *realCluster) helmOutput(ctx context.Context, args ...string) (string, error) {
	words := slices.Concat(s.Kubectl.Under, []string{s.Path("bin/tools/helm")}, args)
	cmd := harness.NewCommand(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubectl.Kubeconfig, "HELM_CACHE_HOME="+s.File("helm"), "HELM_CONFIG_HOME="+s.File("helm"), "HELM_DATA_HOME="+s.File("helm"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := harness.CauseOf(ctx, cmd.Run()); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", harness.CommandLine(append([]string{"helm"}, args...)...), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// installChart does what docs/install.md says, waits, and returns what Helm printed.
func (s *realCluster) installChart(ctx context.Context, sets ...string) (string, error) {
	return s.installOrUpgrade(ctx, []string{"install", release, s.Path("charts/pnp-operator"), "--namespace", harness.OperatorNamespace, "--create-namespace", "--wait"}, sets...)
}

func (s *realCluster) installOrUpgrade(ctx context.Context, args []string, sets ...string) (string, error) {
	for _, set := range append([]string{"image.repository=" + realcluster.ImageRepository, "image.tag=" + realcluster.ImageTag, "simulator.image.repository=" + realcluster.SimulatorRepository}, sets...) {
		args = append(args, "--set", set)
	}
	began := time.Now()
	notes, err := s.helmOutput(ctx, args...)
	if err != nil {
		return "", err
	}
	s.Out.Passf("helm %s: ready after %.1f s", args[0], time.Since(began).Seconds())
	return notes, nil
}

func (s *realCluster) upgradeChart(ctx context.Context, sets ...string) (string, error) {
	return s.installOrUpgrade(ctx, []string{"upgrade", release, s.Path("charts/pnp-operator"), "--namespace", harness.OperatorNamespace, "--wait"}, sets...)
}

// uninstall removes the release, and waits until all of it is gone.
func (s *realCluster) uninstall(ctx context.Context) error {
	began := time.Now()
	if _, err := s.helmOutput(ctx, "uninstall", release, "--namespace", harness.OperatorNamespace, "--wait", "--timeout=90s"); err != nil {
		return err
	}
	s.Out.Passf("helm uninstall: gone after %.1f s", time.Since(began).Seconds())
	return nil
}

// withoutSimulator installs the chart alone: it has to be ready, to lead and to judge objects.
func (s *realCluster) withoutSimulator(ctx context.Context) error {
	notes, err := s.installChart(ctx)
	if err != nil {
		return err
	}
	if err := s.says("the notes name the image that runs", realcluster.ImageTag, notes); err != nil {
		return err
	}
	if _, err := s.awaitLeader(ctx, "", 30*time.Second); err != nil {
		return err
	}
	if err := s.soonReady(ctx); err != nil {
		return err
	}
	if err := s.refuses(ctx); err != nil {
		return err
	}
	return s.uninstall(ctx)
}

// says wants a text to have some words.
func (s *realCluster) says(what, words, text string) error {
	if absent := harness.Lacking(text, words); len(absent) > 0 {
		return harness.Missed(what, words, text)
	}
	s.Out.Passf("%s: %s", what, words)
	return nil
}

// withSimulator does what the documentation has for trying the operator.
func (s *realCluster) withSimulator(ctx context.Context) error {
	if _, err := s.installChart(ctx, "simulator.enabled=true"); err != nil {
		return err
	}
	return s.applyTrial(ctx)
}

// applyTrial is the second command of the documentation, and waits for what it leads to.
func (s *realCluster) applyTrial(ctx context.Context) error {
	samples, err := s.Kubectl.Output(ctx, "", "get", "configmap", "pnp-simulator-samples", "-n", simulatorNamespace, `-o=go-template={{index .data "samples.yaml"}}`)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := s.Kubectl.Output(ctx, samples, "apply", "-f", "-"); err != nil {
		return err
	}
	if err := s.awaitAcknowledged(ctx, time.Minute); err != nil {
		return err
	}
	s.Out.Passf("the sample's value is acknowledged, after %.1f s", time.Since(began).Seconds())
	return nil
}

// awaitAcknowledged waits until the sample's device has answered to what is declared now.
func (s *realCluster) awaitAcknowledged(ctx context.Context, within time.Duration) error {
	state := ""
	late := func() error { return harness.Missed("PnPDevice line-0", "Ready, as it is declared", state) }
	return harness.PollEvery(ctx, 50*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		var device v1alpha1.PnPDevice
		if err := s.Kubectl.Get(ctx, &device, harness.DevicesResource, "line-0", "-n", simulatorNamespace); err != nil {
			state = err.Error()
			return false, s.Machinery.Check()
		}
		ready := apimeta.FindStatusCondition(device.Status.Conditions, v1alpha1.ConditionReady)
		state = fmt.Sprintf("generation %d, Ready %+v", device.Generation, ready)
		return ready != nil && ready.Status == "True" && ready.ObservedGeneration == device.Generation, nil
	})
}

// leader is the pod that leads, "" if none does.
func (s *realCluster) leader(ctx context.Context) (string, error) {
	var lease coordinationv1.Lease
	if err := s.Kubectl.Get(ctx, &lease, "lease", leaseName, "-n", harness.OperatorNamespace); err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil {
		return "", nil
	}
	pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return pod, nil
}

// awaitLeader waits until a pod that exists leads, and is not the one named.
func (s *realCluster) awaitLeader(ctx context.Context, but string, within time.Duration) (string, error) {
	began, found := time.Now(), ""
	late := func() error { return harness.Missed("the leader", "a pod other than "+but, found) }
	err := harness.PollEvery(ctx, 100*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		pod, err := s.leader(ctx)
		if found = pod; err != nil || pod == "" || pod == but {
			return false, s.Machinery.Check()
		}
		_, err = s.Kubectl.Output(ctx, "", "get", "pod", pod, "-n", harness.OperatorNamespace)
		return err == nil, nil
	})
	if err == nil {
		s.Out.Passf("%s leads, after %.1f s", found, time.Since(began).Seconds())
	}
	return found, err
}

// pods are those of a Deployment that are not ending.
func (s *realCluster) pods(ctx context.Context, namespace, name string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := s.Kubectl.Get(ctx, &list, "pods", "-n", namespace, "-l", "app.kubernetes.io/name="+name); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	}), nil
}

// soonReady wants pods ready soon after their containers run: probes decide how long a rollout takes.
func (s *realCluster) soonReady(ctx context.Context) error {
	const limit = 8 * time.Second
	pods, err := s.pods(ctx, harness.OperatorNamespace, "pnp-operator")
	if err != nil {
		return err
	}
	slowest := time.Duration(0)
	for _, pod := range pods {
		for _, condition := range pod.Status.Conditions {
			if running := pod.Status.ContainerStatuses[0].State.Running; condition.Type == corev1.PodReady && running != nil {
				slowest = max(slowest, condition.LastTransitionTime.Sub(running.StartedAt.Time))
			}
		}
	}
	return s.Check("pods are ready soon after they run", "within "+limit.String(), slowest.String(), len(pods) == 2 && slowest <= limit)
}

// upgrade changes tag and values, and goes back.
func (s *realCluster) upgrade(ctx context.Context) error {
	for number := 1; number <= s.Machinery.Nodes; number++ {
		for _, repository := range realcluster.Images {
			if err := s.nameAnew(ctx, number, repository); err != nil {
				return err
			}
		}
	}
	notes, err := s.upgradeChart(ctx, "simulator.enabled=true", "image.tag="+realcluster.NextTag, "networkPolicy.enabled=true", "protection.enabled=true", "deletionPolicy.default=Clear")
	if err != nil {
		return err
	}
	if err := s.says("the notes name the image that runs", realcluster.NextTag, notes); err != nil {
		return err
	}
	if err := s.acknowledges(ctx, "after the upgrade", 30*time.Second); err != nil {
		return err
	}
	if _, err := s.helmOutput(ctx, "rollback", release, "--namespace", harness.OperatorNamespace, "--wait"); err != nil {
		return err
	}
	return s.acknowledges(ctx, "after the rollback", 30*time.Second)
}

// nameAnew gives an image on a node the next tag.
func (s *realCluster) nameAnew(ctx context.Context, node int, repository string) error {
	words, err := s.Machinery.Within(node, "ctr", "--namespace=k8s.io", "images", "tag", repository+":"+realcluster.ImageTag, repository+":"+realcluster.NextTag)
	if err != nil {
		return err
	}
	if out, err := harness.NewCommand(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("naming image %s anew: %w: %s", repository, err, out)
	}
	return nil
}

// acknowledges declares another value and waits until the device has it.
func (s *realCluster) acknowledges(ctx context.Context, when string, within time.Duration) error {
	began := time.Now()
	value := began.UnixMilli() % 90
	patch := fmt.Sprintf(`{"spec":{"components":[{"name":"thermostat1","properties":{"targetTemperature":%d}}]}}`, value)
	if _, err := s.Kubectl.Output(ctx, "", "patch", harness.DevicesResource, "line-0", "-n", simulatorNamespace, "--type=merge", "-p", patch); err != nil {
		return err
	}
	if err := s.awaitAcknowledged(ctx, within); err != nil {
		return err
	}
	s.Out.Passf("%s a change is acknowledged, after %.1f s", when, time.Since(began).Seconds())
	return nil
}

// reinstall uninstalls a trial whose device has deletionPolicy Clear, and installs it again at once.
func (s *realCluster) reinstall(ctx context.Context) error {
	if _, err := s.Kubectl.Output(ctx, "", "patch", harness.DevicesResource, "line-0", "-n", simulatorNamespace, "--type=merge", "-p", `{"spec":{"deletionPolicy":"Clear"}}`); err != nil {
		return err
	}
	if err := s.uninstall(ctx); err != nil {
		return err
	}
	if err := s.leftovers(ctx); err != nil {
		return err
	}
	if _, err := s.installChart(ctx, "simulator.enabled=true"); err != nil {
		return err
	}
	if _, err := s.awaitLeader(ctx, "", 8*time.Second); err != nil {
		return err
	}
	if err := s.applyTrial(ctx); err != nil {
		return err
	}
	return s.uninstall(ctx)
}

// leftovers compares what an uninstalled release leaves with what docs/install.md says.
func (s *realCluster) leftovers(ctx context.Context) error {
	out, err := s.Kubectl.Output(ctx, "", "get", "secrets,configmaps,leases,serviceaccounts,roles,rolebindings,services,deployments,jobs,networkpolicies", "-n", harness.OperatorNamespace, "-o", "name")
	if err != nil {
		return err
	}
	var left []string
	for line := range strings.Lines(out) {
		name := strings.TrimSpace(line)
		switch {
		case name == "configmap/kube-root-ca.crt" || name == "serviceaccount/default":
		case strings.HasPrefix(name, "configmap/checkpoint-"):
		default:
			left = append(left, name)
		}
	}
	want := []string{"secret/pnp-operator-webhook-cert", "lease.coordination.k8s.io/" + leaseName}
	slices.Sort(left)
	slices.Sort(want)
	if err := s.Check("what an uninstalled release leaves, beside checkpoints", strings.Join(want, " "), strings.Join(left, " "), slices.Equal(left, want)); err != nil {
		return err
	}
	_, err = s.Kubectl.Output(ctx, "", "get", "namespace", simulatorNamespace)
	return s.Check("the simulator's namespace", "gone", fmt.Sprint(err), err != nil && strings.Contains(err.Error(), "NotFound"))
}
