package engines

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

func argoFaultScenarios() []engineScenario {
	return []engineScenario{
		{name: "diff", engine: argoCD, fault: 1, shape: withoutModel, play: seenEdits,
			title: "ServerSideDiff sees a changed, an added and a removed value"},
		{name: "script", engine: argoCD, fault: 2, play: healthScript,
			title: "the health script leaves keys and labels of argocd-cm alone"},
		{name: "telemetry", engine: argoCD, fault: 3, play: telemetryWithoutComponent,
			title: "telemetry without a component is compared and synced"},
		{name: "cascade", engine: argoCD, fault: 7, shape: lineOf(12), play: deleteApplications,
			title: "a site whose Applications are deleted at once is cleared"},
		{name: "hook", engine: argoCD, fault: 10, play: hookedCommand,
			title: "a command that is a hook is made anew at each sync, and runs once"},
	}
}

func otherArgoScenarios() []engineScenario {
	return []engineScenario{
		{name: "selfheal", engine: argoCD, play: selfHeal,
			title: "self-heal puts a value back and leaves suspend alone"},
		{name: "health", engine: argoCD, shape: acknowledged, play: healthStates,
			title: "Progressing, Degraded, Suspended and Healthy, as the table says"},
		{name: "waves", engine: argoCD, play: syncWaves,
			title: "a command of wave 1 is made after the devices are Healthy"},
		{name: "still", engine: argoCD, play: stillPasses,
			title: "five hard refreshes write nothing and ask the hub nothing"},
	}
}

// withoutModel lets the second device have properties that no model knows.
func withoutModel(s *site) error {
	return s.replace(s.line(2), "  modelID: dtmi:com:example:Thermostat;1\n", "")
}

// acknowledged has Ready of the first device wait for its answer, also while it is offline.
func acknowledged(s *site) error {
	return s.replace(s.line(1), "  readyWhen: Reachable\n", "")
}

// seenEdits changes, adds and removes a value, each alone in its commit.
func seenEdits(ctx context.Context, s *site) (engineOutcome, error) {
	var o engineOutcome
	for _, edit := range []struct {
		was, is, property string
		want              any
	}{
		{"targetTemperature: 19\n", "targetTemperature: 18\n", harness.TargetProperty, 18},
		{"targetTemperature: 18\n", "targetTemperature: 18\n    other: 1\n", "other", 1},
		{"    other: 1\n", "", "other", nil},
	} {
		if err := s.replace(s.line(2), edit.was, edit.is); err != nil {
			return o, err
		}
		c, err := s.commit(ctx, fmt.Sprintf("%s is %v", edit.property, edit.want))
		if err != nil {
			return o, err
		}
		at, err := s.untilHeld(ctx, s.device(2), edit.property, edit.want)
		if err != nil {
			said, _ := s.argo(ctx, devicesIn)
			return o, fmt.Errorf("%w\n          Argo CD says: %s", err, said)
		}
		said, _, err := s.argoHealthy(ctx, c, devicesIn)
		if err != nil {
			return o, err
		}
		o = engineOutcome{harness.Outcome{From: "push", To: "held by the hub", Took: max(o.Took, at.Sub(c.at))}, said.String()}
	}
	return o, nil
}

// healthScript applies an argocd-cm as `kubectl apply -f install.yaml` does, with a key of its own,
// and runs the command of the docs over it.
func healthScript(ctx context.Context, s *site) (engineOutcome, error) {
	manifest := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"argocd-cm","namespace":"` + s.name + `",
		"labels":{"app.kubernetes.io/part-of":"argocd"}},"data":{"url":"https://argocd.example.com","oidc.config":"name: SSO"}}`
	if _, err := s.Kubectl.Output(ctx, manifest, "apply", "-f", "-"); err != nil {
		return engineOutcome{}, err
	}
	script, err := s.readDocs("argocd.md", "Health", 1)
	if err != nil {
		return engineOutcome{}, err
	}
	began := time.Now()
	if err := s.bash(ctx, strings.ReplaceAll(script, "--namespace argocd", "--namespace "+s.name)); err != nil {
		return engineOutcome{}, err
	}
	took := time.Since(began)
	var config corev1.ConfigMap
	if err := s.client.Get(ctx, s.key("argocd-cm"), &config); err != nil {
		return engineOutcome{}, err
	}
	const prefix = "resource.customizations.health.iot.pnp-operator.io_"
	want := []string{"oidc.config", prefix + "DeviceCommand", prefix + "DeviceModel", prefix + "IoTHub", prefix + "PnPDevice", "url"}
	if got := keysOf(config.Data); !slices.Equal(got, want) || config.Labels["app.kubernetes.io/part-of"] != "argocd" {
		return engineOutcome{}, harness.Missed("keys and labels of argocd-cm", strings.Join(want, ", ")+"; part-of", strings.Join(got, ", ")+"; "+sorted(config.Labels))
	}
	return engineOutcome{Outcome: harness.Outcome{From: "command", To: "patched", Took: took}}, nil
}

func keysOf(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// telemetryWithoutComponent adds telemetry of the default component, and then edits a value.
func telemetryWithoutComponent(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.replace(s.line(1), "  properties:\n", "  telemetry:\n  - fields: [temperature]\n  properties:\n"); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.commit(ctx, "Telemetry")
	if err != nil {
		return engineOutcome{}, err
	}
	if _, _, err := s.argoHealthy(ctx, c, devicesIn); err != nil {
		return engineOutcome{}, err
	}
	c, err = s.editFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.argoHealthy(ctx, c, devicesIn)
	if err != nil {
		return engineOutcome{}, err
	}
	if got, ok, err := s.holds(ctx, s.device(1), harness.TargetProperty, 24); err != nil || !ok {
		return engineOutcome{}, orMiss(err, "the value at the hub", "24", got)
	}
	return engineOutcome{harness.Outcome{From: "push", To: "Healthy", Took: at.Sub(c.at)}, said.String()}, s.alive("argocd-application-controller")
}

// reportOf is a command for the first device, with annotations.
func (s *site) reportOf(name, annotations string) string {
	return fmt.Sprintf(`apiVersion: iot.pnp-operator.io/v1alpha1
kind: DeviceCommand
metadata:
  name: %s
  annotations: {%s}
spec:
  deviceRef:
    name: %s
  command: getMaxMinReport
  payload: "2026-11-28T10:00:00Z"
  notAfter: "2030-01-01T00:00:00Z"
`, name, annotations, s.device(1))
}

// hookedCommand has a command made anew by a second sync, which shows what became of the first.
func hookedCommand(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.add(devicesIn, "hooked.yaml", s.reportOf("hooked", "argocd.argoproj.io/hook: PostSync")); err != nil {
		return engineOutcome{}, err
	}
	if err := s.replace(s.line(2), "targetTemperature: 19", "targetTemperature: 18"); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.commit(ctx, "A hook")
	if err != nil {
		return engineOutcome{}, err
	}
	first, err := s.untilHooked(ctx, c, "")
	if err != nil {
		return engineOutcome{}, err
	}
	if c, err = s.editFirst(ctx); err != nil {
		return engineOutcome{}, err
	}
	if _, err = s.untilHooked(ctx, c, first); err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.argoHealthy(ctx, c, devicesIn)
	if err != nil {
		return engineOutcome{}, err
	}
	_, err = s.untilRan(ctx, s.device(1), 2) // one is of the layout
	return engineOutcome{harness.Outcome{From: "the next push", To: "Healthy, ran once", Took: at.Sub(c.at)}, said.String()}, err
}

// untilHooked waits until the hook of a commit has ended well: a DeviceCommand of another UID than
// before has Succeeded, and Argo CD's operation at the commit too. It returns the UID.
func (s *site) untilHooked(ctx context.Context, c commit, before string) (string, error) {
	var uid string
	_, err := s.until(ctx, "DeviceCommand hooked", "made anew, and Succeeded", func(ctx context.Context) (string, bool, error) {
		var command v1alpha1.DeviceCommand
		err := s.client.Get(ctx, s.key("hooked"), &command)
		if apierrors.IsNotFound(err) {
			return "not there", false, nil
		}
		uid = string(command.UID)
		return fmt.Sprintf("UID %s, %q", uid, command.Status.Outcome), uid != before && command.Status.Outcome == v1alpha1.CommandSucceeded, err
	})
	if err != nil {
		return "", err
	}
	_, _, err = s.argoSays(ctx, devicesIn, "operation Succeeded at "+c.sha, func(a argoState) bool {
		return a.phase == "Succeeded" && a.revision == c.sha
	})
	return uid, err
}

// deleteApplications deletes the Applications of hub and devices together, with what they made, and
// the Secret with them.
func deleteApplications(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.slowHub(ctx); err != nil {
		return engineOutcome{}, err
	}
	began := time.Now()
	applications := s.name + "-" + hubIn + " " + s.name + "-" + devicesIn
	err := s.bash(ctx, "kubectl patch application "+applications+" --namespace "+argoNamespace+
		` --type=merge --patch '{"metadata":{"finalizers":["resources-finalizer.argocd.argoproj.io"]}}'
kubectl delete application `+applications+" --namespace "+argoNamespace+` --wait=false
kubectl delete secret `+s.hubName()+" --namespace "+s.name)
	if err != nil {
		return engineOutcome{}, err
	}
	at, err := s.untilCleared(ctx, 12)
	if err != nil {
		return engineOutcome{}, err
	}
	err = s.bash(ctx, "kubectl wait application "+applications+" --namespace "+argoNamespace+" --for=delete --timeout=60s")
	return engineOutcome{Outcome: harness.Outcome{From: "deletion", To: "12 devices cleared", Took: at.Sub(began)}}, err
}

// selfHeal suspends the hub and changes a device by hand.
func selfHeal(ctx context.Context, s *site) (engineOutcome, error) {
	patch := func(kind, name, patch string) error {
		return s.bash(ctx, "kubectl patch "+kind+" "+name+" --namespace "+s.name+" --type=merge --patch "+harness.ShellQuoted(patch))
	}
	began := time.Now()
	if err := patch("pnpdevice", s.device(2), `{"spec":{"properties":{"targetTemperature":30}}}`); err != nil {
		return engineOutcome{}, err
	}
	at, err := s.until(ctx, "PnPDevice "+s.device(2), "19", func(ctx context.Context) (string, bool, error) {
		d, err := s.pnp(ctx, s.device(2))
		if err != nil || d == nil {
			return "no such PnPDevice", false, err
		}
		var values map[string]any
		err = json.Unmarshal(d.Spec.Properties.Raw, &values)
		return harness.AsJSON(values), d.Generation > 1 && values[harness.TargetProperty] == 19.0, err
	})
	if err != nil {
		return engineOutcome{}, err
	}
	if err := patch("hub", s.hubName(), `{"spec":{"suspend":true}}`); err != nil {
		return engineOutcome{}, err
	}
	var said argoState
	for range 3 {
		if said, err = s.argoPass(ctx, hubIn, "hard"); err != nil {
			return engineOutcome{}, err
		}
	}
	if got, err := s.suspended(ctx); err != nil || !got {
		return engineOutcome{}, orMiss(err, "spec.suspend after three refreshes", "true", fmt.Sprint(got))
	}
	return engineOutcome{harness.Outcome{From: "patch", To: "put back", Took: at.Sub(began)}, said.String()}, nil
}

// healthStates has the first device go through the states of docs/argocd.md.
func healthStates(ctx context.Context, s *site) (engineOutcome, error) {
	object := "PnPDevice/" + s.device(1)
	is := func(c commit, want string) (argoState, time.Time, error) {
		return s.argoSays(ctx, devicesIn, object+" "+want, func(a argoState) bool {
			return a.revision == c.sha && a.sync == "Synced" && a.resources[object] == want
		})
	}
	if err := s.goOffline(ctx, s.device(1)); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.editFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	if _, _, err := is(c, "Progressing"); err != nil {
		return engineOutcome{}, err
	}
	reject := simulator.Reject(400, "too warm")
	if err := s.Hub.Behave(ctx, s.device(1), harness.TargetProperty, reject); err != nil {
		return engineOutcome{}, err
	}
	if err := s.Hub.Online(ctx, s.device(1)); err != nil {
		return engineOutcome{}, err
	}
	said, _, err := is(c, "Degraded")
	if err != nil {
		return engineOutcome{}, err
	}
	back, err := s.revertFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	_, at, err := s.argoHealthy(ctx, back, devicesIn)
	if err != nil {
		return engineOutcome{}, err
	}
	last, err := s.suspendFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	_, _, err = is(last, "Suspended")
	return engineOutcome{harness.Outcome{From: "revert", To: "Healthy", Took: at.Sub(back.at)}, said.String() + "\nwhile the device rejects"}, err
}

// suspendFirst has the first device suspended in Git.
func (s *site) suspendFirst(ctx context.Context) (commit, error) {
	if err := s.replace(s.line(1), "spec:\n", "spec:\n  suspend: true\n"); err != nil {
		return commit{}, err
	}
	return s.commit(ctx, "Line 1 is suspended")
}

// syncWaves adds a command of wave 1 beside an edit that its device takes time for.
func syncWaves(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.Hub.Behave(ctx, s.device(1), harness.TargetProperty, simulator.Delay(4*time.Second)); err != nil {
		return engineOutcome{}, err
	}
	if err := s.add(devicesIn, "second.yaml", s.reportOf("second", `argocd.argoproj.io/sync-wave: "1"`)); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.editFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	at, err := s.until(ctx, "DeviceCommand second", "made", func(ctx context.Context) (string, bool, error) {
		var list v1alpha1.DeviceCommandList
		if err := s.client.List(ctx, &list); err != nil {
			return "", false, err
		}
		for _, command := range list.Items {
			if command.Namespace == s.name && command.Name == "second" {
				return "made", true, nil
			}
		}
		return "not there", false, nil
	})
	if err != nil {
		return engineOutcome{}, err
	}
	device, err := s.pnp(ctx, s.device(1))
	if err != nil || device == nil || !harness.IsReady(device) || !strings.Contains(string(device.Spec.Properties.Raw), "24") {
		return engineOutcome{}, orMiss(err, "the device when the command is made", "Ready at 24", harness.DescribeDevice(device))
	}
	said, _, err := s.argoHealthy(ctx, c, devicesIn)
	return engineOutcome{harness.Outcome{From: "push", To: "command made", Took: at.Sub(c.at)}, said.String()}, err
}

func stillPasses(ctx context.Context, s *site) (engineOutcome, error) {
	before, err := s.settled(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	began := time.Now()
	var said argoState
	for range 5 {
		for _, folder := range folders {
			if said, err = s.argoPass(ctx, folder, "hard"); err != nil {
				return engineOutcome{}, err
			}
		}
	}
	took := time.Since(began)
	after, err := s.snapshot(ctx)
	if err != nil || !slices.Equal(before, after) {
		return engineOutcome{}, orMiss(err, "objects and hub calls after five refreshes", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	return engineOutcome{harness.Outcome{From: "first refresh", To: "last refresh", Took: took}, said.String()}, nil
}
