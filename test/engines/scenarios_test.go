package engines

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// engineScenarios are all of them: the eleven kinds of fault first, in the order of docs/gitops.md.
func engineScenarios() []engineScenario {
	return slices.Concat(faultScenarios(), argoFaultScenarios(), otherScenarios(), otherArgoScenarios())
}

func faultScenarios() []engineScenario {
	return []engineScenario{
		{name: "restore", engine: flux, fault: 4, tools: []string{"jq"}, play: restore,
			title: "a restore runs no command again and skips no Clear"},
		{name: "stop", engine: flux, fault: 5, shape: withoutMerge, play: stopEverything,
			title: "the emergency stop of the docs survives reconciliations"},
		{name: "merge", engine: flux, fault: 5, play: stopUnderMerge,
			title: "so does any suspend where the IoTHub in Git says Merge"},
		{name: "model", engine: flux, fault: 6, play: modelAndUser,
			title: "a model and what needs it arrive in one commit"},
		{name: "onefolder", engine: flux, fault: 6, shape: modelsAmongDevices, play: modelInOneFolder,
			title: "in one folder they are refused, by path and model"},
		{name: "close", engine: flux, fault: 7, shape: lineOf(12), play: closeSite,
			title: "a site that is closed as the docs say is cleared"},
		{name: "atonce", engine: flux, fault: 7, shape: lineOf(12), play: closeAtOnce,
			title: "so is one that is closed in one commit"},
		{name: "mass", engine: flux, fault: 8, shape: lineOf(40), play: massRemoval,
			title: "the removal of 30 of 40 devices halts, and goes on when confirmed"},
		{name: "offline", engine: flux, fault: 9, play: offlineApplied,
			title: "an offline device with readyWhen: Applied holds up no commit"},
		{name: "awaited", engine: flux, fault: 9, shape: shortTimeout, play: offlineAcknowledged,
			title: "one with Acknowledged holds up the next commit for the timeout"},
		{name: "reachable", engine: flux, fault: 9, shape: reachable, play: offlineApplied,
			title: "an offline device with readyWhen: Reachable holds up no commit"},
		{name: "edited", engine: flux, fault: 10, play: editedCommand,
			title: "an edited command stops its folder and no device"},
		{name: "hang", engine: flux, fault: 11, play: hangingOperator,
			title: "an operator that hangs delays a commit and loses nothing"},
	}
}

func otherScenarios() []engineScenario {
	return []engineScenario{
		{name: "acknowledge", engine: flux, play: readyAfterAcknowledgement,
			title: "Ready comes only after the device's acknowledgement"},
		{name: "reject", engine: flux, play: rejectedEdit,
			title: "a rejected value fails the folder, a revert heals it"},
		{name: "wrong", engine: flux, play: wrongValueInGit,
			title: "a value that breaks the model applies nothing, and is named"},
		{name: "again", engine: flux, play: pruneAndAddAgain,
			title: "a command runs once, also if pruned and added again"},
		{name: "failing", engine: flux, play: failingCommand,
			title: "a failing command fails its folder and no device"},
		{name: "hand", engine: flux, shape: withoutModel, play: editedByHand,
			title: "what a person changes or adds is put back"},
		{name: "quiet", engine: flux, shape: withOddNumbers, play: quietPasses,
			title: "five passes write nothing and ask the hub nothing"},
	}
}

// restore loses the namespace's objects and brings them back as docs/install.md says, while the
// operator is not there to stop Flux.
func restore(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.clearWhenPruned(ctx); err != nil {
		return engineOutcome{}, err
	}
	if err := s.loseAndRestore(ctx); err != nil {
		return engineOutcome{}, err
	}
	began := time.Now()
	said, err := s.reconcile(ctx, commandsIn)
	if err != nil {
		return engineOutcome{}, err
	}
	if _, err := s.untilReady(ctx, s.device(1)); err != nil {
		return engineOutcome{}, err
	}
	if _, err := s.untilRan(ctx, s.device(1), 1); err != nil {
		return engineOutcome{}, err
	}
	if _, err := s.untilReady(ctx, s.device(2)); err != nil {
		return engineOutcome{}, err
	}
	if err := s.remove(devicesIn, "line-2.yaml"); err != nil {
		return engineOutcome{}, err
	}
	if _, err := s.commit(ctx, "Remove line 2"); err != nil {
		return engineOutcome{}, err
	}
	at, err := s.untilHeld(ctx, s.device(2), harness.TargetProperty, nil)
	return engineOutcome{harness.Outcome{From: "restore", To: "command ran once, value cleared", Took: at.Sub(began)}, said.String()}, err
}

// clearWhenPruned gives the second device deletionPolicy: Clear.
func (s *site) clearWhenPruned(ctx context.Context) error {
	if err := s.replace(s.line(2), "  readyWhen: Applied\n", "  readyWhen: Applied\n  deletionPolicy: Clear\n"); err != nil {
		return err
	}
	c, err := s.commit(ctx, "Clear line 2 when it goes")
	if err != nil {
		return err
	}
	_, _, err = s.fluxReady(ctx, c, devicesIn)
	return err
}

// loseAndRestore stops the operator, takes a backup, loses all objects, restores them, and has Flux
// see them before the operator does.
func (s *site) loseAndRestore(ctx context.Context) error {
	script, err := s.readDocs("install.md", "Backup and restore", 1)
	if err != nil {
		return err
	}
	backup, create, ok := strings.Cut(script, "kubectl create ")
	if !ok {
		return harness.Missed("docs/install.md, Backup and restore", "a command kubectl create", script)
	}
	if err := s.operator.stop(); err != nil {
		return err
	}
	const kinds = "iothubs,devicemodels,pnpdevices,devicecommands"
	lose := "kubectl get " + kinds + " -n " + s.name + " -o name | xargs -n1 kubectl patch -n " + s.name + ` --type=merge --patch='{"metadata":{"finalizers":null}}'` +
		"\nkubectl delete " + kinds + " --all -n " + s.name
	folder := "cd " + harness.ShellQuoted(s.Dir) + "\n"
	for _, step := range []string{backup, lose, "kubectl create " + create} {
		if err := s.bash(ctx, folder+step); err != nil {
			return err
		}
	}
	for _, folder := range []string{devicesIn, commandsIn} {
		if err := s.applyAgain(ctx, folder); err != nil {
			return err
		}
	}
	return s.operator.start(ctx)
}

// applyAgain asks Flux to go through a folder, and waits until it has applied it. Its word
// on health may take longer.
func (s *site) applyAgain(ctx context.Context, folder string) error {
	value, err := s.request(ctx, kustomizationKind, s.name+"-"+folder)
	if err != nil {
		return err
	}
	_, _, err = s.fluxSays(ctx, folder, "health checks, or a reconciliation at "+value, func(f fluxState) bool {
		return f.handled == value || strings.Contains(f.doing, "health checks")
	})
	return err
}

// withoutMerge takes the annotation off the IoTHub, so that the command of the docs is all that
// keeps Flux away.
func withoutMerge(s *site) error {
	return s.replace(s.in(hubIn, "iothub.yaml"), "  annotations:\n    kustomize.toolkit.fluxcd.io/ssa: Merge\n", "")
}

// suspended reports whether the hub is.
func (s *site) suspended(ctx context.Context) (bool, error) {
	var hub v1alpha1.IoTHub
	err := s.client.Get(ctx, s.key(s.hubName()), &hub)
	return hub.Spec.Suspend, err
}

// survives goes through three reconciliations and checks whether the hub is suspended after them.
func (s *site) survives(ctx context.Context, want bool) (fluxState, error) {
	var said fluxState
	for range 3 {
		f, err := s.reconcile(ctx, hubIn)
		if err != nil {
			return f, err
		}
		said = f
	}
	got, err := s.suspended(ctx)
	if err == nil && got != want {
		err = harness.Missed("spec.suspend after three reconciliations", fmt.Sprint(want), fmt.Sprint(got))
	}
	return said, err
}

// stopEverything first shows what the docs warn of, a suspend under kubectl's own name, and then
// what they give.
func stopEverything(ctx context.Context, s *site) (engineOutcome, error) {
	plain := "kubectl patch hub " + s.hubName() + " --namespace " + s.name + ` --type=merge --patch '{"spec":{"suspend":true}}'`
	if err := s.bash(ctx, plain); err != nil {
		return engineOutcome{}, err
	}
	if _, err := s.survives(ctx, false); err != nil {
		return engineOutcome{}, err
	}
	if err := s.docs(ctx, "operations.md", "Stop everything", 1); err != nil {
		return engineOutcome{}, err
	}
	said, err := s.survives(ctx, true)
	if err != nil {
		return engineOutcome{}, err
	}
	o, err := s.heldBack(ctx, func() error { return s.docs(ctx, "operations.md", "Stop everything", 2) })
	return engineOutcome{o, said.String()}, err
}

func stopUnderMerge(ctx context.Context, s *site) (engineOutcome, error) {
	patch := func(value string) error {
		return s.bash(ctx, "kubectl patch hub "+s.hubName()+" --namespace "+s.name+` --type=merge --patch '{"spec":{"suspend":`+value+`}}'`)
	}
	if err := patch("true"); err != nil {
		return engineOutcome{}, err
	}
	said, err := s.survives(ctx, true)
	if err != nil {
		return engineOutcome{}, err
	}
	o, err := s.heldBack(ctx, func() error { return patch("null") })
	return engineOutcome{o, said.String()}, err
}

// heldBack edits a device in Git while the hub is suspended, checks that nothing is written, and
// resumes.
func (s *site) heldBack(ctx context.Context, resume func() error) (harness.Outcome, error) {
	if err := s.replace(s.line(1), "targetTemperature: 21.5", "targetTemperature: 24"); err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.commit(ctx, "Line 1 at 24"); err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.untilNotReady(ctx, s.device(1), v1alpha1.ReasonHubSuspended); err != nil {
		return harness.Outcome{}, err
	}
	if got, ok, err := s.holds(ctx, s.device(1), harness.TargetProperty, 21.5); err != nil || !ok {
		return harness.Outcome{}, orMiss(err, "the value at a suspended hub", "21.5", got)
	}
	began := time.Now()
	if err := resume(); err != nil {
		return harness.Outcome{}, err
	}
	at, err := s.untilHeld(ctx, s.device(1), harness.TargetProperty, 24)
	return harness.Outcome{From: "resume", To: "held by the hub", Took: at.Sub(began)}, err
}

// orMiss is an error, or else an expectation that was not met.
func orMiss(err error, what, expected, got string) error {
	if err != nil {
		return err
	}
	return harness.Missed(what, expected, got)
}

const (
	thermostatContents = "      name: targetTemperature\n      writable: true\n      schema: double\n      unit: degreeCelsius\n"
	fanSpeed           = "    - \"@type\": Property\n      name: fanSpeed\n      writable: true\n      schema: integer\n"
)

// addFanSpeed adds a property to the model and to a device that declares it.
func (s *site) addFanSpeed(model string) error {
	if err := s.replace(model, thermostatContents, thermostatContents+fanSpeed); err != nil {
		return err
	}
	return s.replace(s.line(1), "    targetTemperature: 21.5\n", "    targetTemperature: 21.5\n    fanSpeed: 3\n")
}

func modelAndUser(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.addFanSpeed(s.in(modelsIn, "thermostat.yaml")); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.commit(ctx, "A fan")
	if err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxReady(ctx, c, devicesIn)
	if err != nil {
		return engineOutcome{}, err
	}
	if got, ok, err := s.holds(ctx, s.device(1), "fanSpeed", 3); err != nil || !ok {
		return engineOutcome{}, orMiss(err, "fanSpeed at the hub", "3", got)
	}
	return engineOutcome{harness.Outcome{From: "push", To: "Ready", Took: at.Sub(c.at)}, said.String()}, nil
}

// modelsAmongDevices moves the model into the devices' folder, which the docs advise against.
func modelsAmongDevices(s *site) error {
	const file = "thermostat.yaml"
	data, err := s.read(s.in(modelsIn, file))
	if err != nil {
		return err
	}
	if err := s.remove(modelsIn, file); err != nil {
		return err
	}
	return s.add(devicesIn, file, data)
}

func modelInOneFolder(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.addFanSpeed(s.in(devicesIn, "thermostat.yaml")); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.commit(ctx, "A fan")
	if err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxFails(ctx, c, devicesIn, "spec.properties.fanSpeed", `DeviceModel "thermostat"`)
	return engineOutcome{harness.Outcome{From: "push", To: "refused", Took: at.Sub(c.at)}, said.String()}, err
}

// lineOf adds devices with deletionPolicy: Clear to the two of the recipe.
func lineOf(n int) func(*site) error {
	return func(s *site) error {
		for i := range n {
			if err := s.add(devicesIn, s.cellFile(i), s.cellManifest(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// cell is the name and the id of a device that lineOf adds.
func (s *site) cell(i int) string { return fmt.Sprintf("%s-cell-%02d", s.name, i) }

func (s *site) cellFile(i int) string { return fmt.Sprintf("cell-%02d.yaml", i) }

func (s *site) cellManifest(i int) string {
	return fmt.Sprintf(`apiVersion: iot.pnp-operator.io/v1alpha1
kind: PnPDevice
metadata:
  name: %s
spec:
  hubRef:
    name: %s
  deletionPolicy: Clear
  properties:
    targetTemperature: 20
`, s.cell(i), s.hubName())
}

// slowHub has the hub take its time over the writes to the site's devices.
func (s *site) slowHub(ctx context.Context) error {
	_, err := s.Hub.AddFault(ctx, simulator.Fault{Kind: simulator.FaultLatency, Operation: "Patch*", Device: s.name + "-*",
		Latency: 400 * time.Millisecond, Count: simulator.Forever})
	return err
}

// emptyFolder leaves nothing in a folder but its kustomization.yaml.
func (s *site) emptyFolder(folder string) error {
	files, err := s.filesOf(folder)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := s.remove(folder, file); err != nil {
			return err
		}
	}
	return s.write(s.in(folder, "kustomization.yaml"), "namespace: "+s.name+"\nresources: []\n")
}

// untilCleared waits until the site has no PnPDevice, and checks that the hub has no value of the
// devices 0 to n-1, and that no Event says otherwise.
func (s *site) untilCleared(ctx context.Context, n int) (time.Time, error) {
	at, err := s.until(ctx, "PnPDevices of "+s.name, "none", func(ctx context.Context) (string, bool, error) {
		left, err := s.countDevices(ctx)
		return fmt.Sprint(left), left == 0, err
	})
	if err != nil {
		return at, err
	}
	var kept []string
	for i := range n {
		got, ok, err := s.holds(ctx, s.cell(i), harness.TargetProperty, nil)
		if err != nil {
			return at, err
		}
		if !ok {
			kept = append(kept, s.cell(i)+"="+got)
		}
	}
	said, err := s.events(ctx, v1alpha1.ReasonNotCleared)
	if err != nil || len(kept)+len(said) > 0 {
		return at, orMiss(err, "values left at the hub, and Events "+v1alpha1.ReasonNotCleared, "none", strings.Join(append(kept, said...), "; "))
	}
	return at, nil
}

// closeSite takes two commits, as docs/gitops.md says: the devices, and once they are gone the hub.
func closeSite(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.slowHub(ctx); err != nil {
		return engineOutcome{}, err
	}
	if err := s.emptyFolder(devicesIn); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.commit(ctx, "Close the site: devices")
	if err != nil {
		return engineOutcome{}, err
	}
	said, _, err := s.fluxReady(ctx, c, devicesIn)
	if err != nil {
		return engineOutcome{}, err
	}
	at, err := s.untilCleared(ctx, 12)
	if err != nil {
		return engineOutcome{}, err
	}
	if err := s.emptyFolder(hubIn); err != nil {
		return engineOutcome{}, err
	}
	last, err := s.commit(ctx, "Close the site: the hub")
	if err != nil {
		return engineOutcome{}, err
	}
	_, _, err = s.fluxReady(ctx, last, hubIn)
	return engineOutcome{harness.Outcome{From: "push", To: "12 devices cleared", Took: at.Sub(c.at)}, said.String()}, err
}

// closeAtOnce removes devices, hub and right in one commit, and the Secret with them.
func closeAtOnce(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.slowHub(ctx); err != nil {
		return engineOutcome{}, err
	}
	for _, folder := range []string{devicesIn, hubIn} {
		if err := s.emptyFolder(folder); err != nil {
			return engineOutcome{}, err
		}
	}
	c, err := s.commit(ctx, "Close the site")
	if err != nil {
		return engineOutcome{}, err
	}
	said, _, err := s.fluxReady(ctx, c, hubIn)
	if err != nil {
		return engineOutcome{}, err
	}
	if err := s.bash(ctx, "kubectl delete secret "+s.hubName()+" -n "+s.name); err != nil {
		return engineOutcome{}, err
	}
	at, err := s.untilCleared(ctx, 12)
	return engineOutcome{harness.Outcome{From: "push", To: "12 devices cleared", Took: at.Sub(c.at)}, said.String()}, err
}

// massRemoval takes 30 of 40 devices with Clear out of Git: the brake halts them, Flux is content,
// and the command of docs/iothub.md lets them go.
func massRemoval(ctx context.Context, s *site) (engineOutcome, error) {
	for i := range 30 {
		if err := s.remove(devicesIn, s.cellFile(i)); err != nil {
			return engineOutcome{}, err
		}
	}
	c, err := s.commit(ctx, "A wrong path")
	if err != nil {
		return engineOutcome{}, err
	}
	at, err := s.untilHub(ctx, "RemovalsHalted", "True "+v1alpha1.ReasonMassRemoval)
	if err != nil {
		return engineOutcome{}, err
	}
	said, _, err := s.fluxReady(ctx, c, devicesIn)
	if err != nil {
		return engineOutcome{}, err
	}
	left, err := s.countDevices(ctx)
	if err != nil || left < 12+10 || left == 42 {
		return engineOutcome{}, orMiss(err, "PnPDevices while removals are halted", "22 to 41", fmt.Sprint(left))
	}
	if err := s.confirm(ctx); err != nil {
		return engineOutcome{}, err
	}
	_, err = s.until(ctx, "PnPDevices after the confirmation", "12", func(ctx context.Context) (string, bool, error) {
		left, err := s.countDevices(ctx)
		return fmt.Sprint(left), left == 12, err
	})
	return engineOutcome{harness.Outcome{From: "push", To: "halted", Took: at.Sub(c.at)}, said.String() + "\nwhile " + fmt.Sprint(left-12) + " devices are still being deleted"}, err
}

// confirm runs the command of docs/iothub.md.
func (s *site) confirm(ctx context.Context) error {
	script, err := s.readDocs("iothub.md", "Confirm removals", 2)
	if err != nil {
		return err
	}
	return s.bash(ctx, strings.ReplaceAll(strings.TrimRight(script, "\n"), "factory-hub", s.hubName())+" --namespace "+s.name)
}

// untilHub waits until a condition of the IoTHub is there with a status and a reason.
func (s *site) untilHub(ctx context.Context, kind, want string) (time.Time, error) {
	return s.until(ctx, kind+" of the IoTHub", want, func(ctx context.Context) (string, bool, error) {
		var hub v1alpha1.IoTHub
		if err := s.client.Get(ctx, s.key(s.hubName()), &hub); err != nil {
			return "", false, err
		}
		for _, c := range hub.Status.Conditions {
			if c.Type == kind {
				return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message), string(c.Status)+" "+c.Reason == want, nil
			}
		}
		return "no such condition", false, nil
	})
}

// offlineApplied edits a device that is offline, and then another one.
func offlineApplied(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.goOffline(ctx, s.device(2)); err != nil {
		return engineOutcome{}, err
	}
	if err := s.replace(s.line(2), "targetTemperature: 19", "targetTemperature: 18"); err != nil {
		return engineOutcome{}, err
	}
	first, err := s.commit(ctx, "Line 2 at 18")
	if err != nil {
		return engineOutcome{}, err
	}
	if _, _, err := s.fluxReady(ctx, first, devicesIn); err != nil {
		return engineOutcome{}, err
	}
	o, c, err := s.nextCommit(ctx, 30*time.Second)
	if err != nil {
		return engineOutcome{}, err
	}
	said, _, err := s.fluxReady(ctx, c, devicesIn)
	return engineOutcome{o, said.String()}, err
}

// nextCommit edits the first device, which is online, and waits until it has the value.
func (s *site) nextCommit(ctx context.Context, within time.Duration) (harness.Outcome, commit, error) {
	c, err := s.editFirst(ctx)
	if err != nil {
		return harness.Outcome{}, c, err
	}
	at, err := s.untilWithin(ctx, within, "the next commit at the hub", "24", func(ctx context.Context) (string, bool, error) {
		return s.holds(ctx, s.device(1), harness.TargetProperty, 24)
	})
	return harness.Outcome{From: "the next push", To: "held by the hub", Took: at.Sub(c.at)}, c, err
}

// goOffline disconnects a device, and waits until status says so.
func (s *site) goOffline(ctx context.Context, device string) error {
	if err := s.Hub.Offline(ctx, device); err != nil {
		return err
	}
	_, err := s.until(ctx, "PnPDevice "+device, "Disconnected", func(ctx context.Context) (string, bool, error) {
		d, err := s.pnp(ctx, device)
		if err != nil || d == nil {
			return "no such PnPDevice", false, err
		}
		return d.Status.ConnectionState, harness.IsDisconnected(d), nil
	})
	return err
}

// shortTimeout has the second device waited for, for as short as Flux takes it.
func shortTimeout(s *site) error {
	s.timeout = "30s"
	return s.replace(s.line(2), "  readyWhen: Applied\n", "")
}

func reachable(s *site) error {
	return s.replace(s.line(2), "  readyWhen: Applied\n", "  readyWhen: Reachable\n")
}

// offlineAcknowledged is what docs/gitops.md says of a device that is waited for: the next commit
// is applied after the time-out, and all heals once the device is online.
func offlineAcknowledged(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.goOffline(ctx, s.device(2)); err != nil {
		return engineOutcome{}, err
	}
	if err := s.replace(s.line(2), "targetTemperature: 19", "targetTemperature: 18"); err != nil {
		return engineOutcome{}, err
	}
	if _, err := s.commit(ctx, "Line 2 at 18"); err != nil {
		return engineOutcome{}, err
	}
	if _, err := s.untilHeld(ctx, s.device(2), harness.TargetProperty, 18); err != nil {
		return engineOutcome{}, err
	}
	next, _, err := s.nextCommit(ctx, withinEngine)
	if err != nil {
		return engineOutcome{}, err
	}
	if next.Took < 10*time.Second {
		return engineOutcome{}, harness.Missed("the next commit", "after the time-out of 30 s", next.Took.String())
	}
	said, _, err := s.fluxSays(ctx, devicesIn, "a time-out", func(f fluxState) bool {
		return f.ready == "False" && len(harness.Lacking(f.message, "timeout waiting for", s.device(2))) == 0
	})
	if err != nil {
		return engineOutcome{}, err
	}
	return engineOutcome{next, said.String()}, s.healsOnline(ctx)
}

// healsOnline connects the second device, and checks that its Kustomization is Ready then.
func (s *site) healsOnline(ctx context.Context) error {
	if err := s.Hub.Online(ctx, s.device(2)); err != nil {
		return err
	}
	if _, err := s.untilReady(ctx, s.device(2)); err != nil {
		return err
	}
	after, err := s.reconcile(ctx, devicesIn)
	if err == nil && after.ready != "True" {
		err = harness.Missed("the Kustomization once the device is online", "Ready=True", after.String())
	}
	return err
}

const reportFile = "line-1-report-2026-11-29.yaml"

// editedCommand edits a command that ran, and a device in the same commit.
func editedCommand(ctx context.Context, s *site) (engineOutcome, error) {
	if _, err := s.untilRan(ctx, s.device(1), 1); err != nil {
		return engineOutcome{}, err
	}
	file := s.in(commandsIn, reportFile)
	if err := s.replace(file, "2026-11-28T10", "2026-11-28T11"); err != nil {
		return engineOutcome{}, err
	}
	if err := s.replace(s.line(1), "targetTemperature: 21.5", "targetTemperature: 24"); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.commit(ctx, "Another time, and line 1 at 24")
	if err != nil {
		return engineOutcome{}, err
	}
	if _, _, err := s.fluxReady(ctx, c, devicesIn); err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxFails(ctx, c, commandsIn, "spec is immutable")
	if err != nil {
		return engineOutcome{}, err
	}
	if err := s.replace(file, "2026-11-28T11", "2026-11-28T10"); err != nil {
		return engineOutcome{}, err
	}
	back, err := s.commit(ctx, "The command as it was")
	if err != nil {
		return engineOutcome{}, err
	}
	if _, _, err := s.fluxReady(ctx, back, commandsIn); err != nil {
		return engineOutcome{}, err
	}
	return engineOutcome{harness.Outcome{From: "push", To: "refused", Took: at.Sub(c.at)}, said.String()}, s.checkRan(ctx, s.device(1), 1)
}

// checkRan checks how many commands a device was given so far.
func (s *site) checkRan(ctx context.Context, device string, want int) error {
	n, err := s.ran(ctx, device)
	if err != nil || n != want {
		return orMiss(err, "commands that "+device+" ran", fmt.Sprint(want), fmt.Sprint(n))
	}
	return nil
}

// hangingOperator stops the operator's process, without ending it, while a commit arrives.
func hangingOperator(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.operator.pause(); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.editFirst(ctx)
	if err != nil {
		return engineOutcome{}, errOr(err, s.operator.resume(ctx))
	}
	began, err := s.until(ctx, "PnPDevice "+s.device(1), "the new value", func(ctx context.Context) (string, bool, error) {
		d, err := s.pnp(ctx, s.device(1))
		if err != nil || d == nil || d.Spec.Properties == nil {
			return "no declaration", false, err
		}
		return string(d.Spec.Properties.Raw), strings.Contains(string(d.Spec.Properties.Raw), "24"), nil
	})
	if err := errOr(err, s.operator.resume(ctx)); err != nil {
		return engineOutcome{}, err
	}
	if began.Sub(c.at) < 3*time.Second {
		return engineOutcome{}, harness.Missed("a commit while the operator hangs", "after the webhook's 3 s", began.Sub(c.at).String())
	}
	if _, err := s.untilHeld(ctx, s.device(1), harness.TargetProperty, 24); err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxReady(ctx, c, devicesIn)
	return engineOutcome{harness.Outcome{From: "push", To: "Ready", Took: at.Sub(c.at)}, said.String()}, err
}

// editFirst edits the first device in Git.
func (s *site) editFirst(ctx context.Context) (commit, error) {
	if err := s.replace(s.line(1), "targetTemperature: 21.5", "targetTemperature: 24"); err != nil {
		return commit{}, err
	}
	return s.commit(ctx, "Line 1 at 24")
}

// errOr is the first of two errors.
func errOr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// readyAfterAcknowledgement edits a device that takes its time.
func readyAfterAcknowledgement(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.Hub.Behave(ctx, s.device(1), harness.TargetProperty, simulator.Delay(4*time.Second)); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.editFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	held, err := s.untilHeld(ctx, s.device(1), harness.TargetProperty, 24)
	if err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxReady(ctx, c, devicesIn)
	if err != nil {
		return engineOutcome{}, err
	}
	device, err := s.pnp(ctx, s.device(1))
	if err != nil || device == nil || !harness.IsReady(device) {
		return engineOutcome{}, orMiss(err, "the PnPDevice when its Kustomization is Ready", "Ready", harness.DescribeDevice(device))
	}
	if at.Sub(held) < 3*time.Second {
		return engineOutcome{}, harness.Missed("the time from the value at the hub to Ready", "the device's 4 s", at.Sub(held).String())
	}
	return engineOutcome{harness.Outcome{From: "push", To: "Ready", Took: at.Sub(c.at)}, said.String()}, nil
}

// rejectedEdit has the device refuse, and reverts.
func rejectedEdit(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.Hub.Behave(ctx, s.device(1), harness.TargetProperty, simulator.Reject(400, "too warm")); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.editFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxFails(ctx, c, devicesIn, "HealthCheckFailed", s.device(1))
	if err != nil {
		return engineOutcome{}, err
	}
	back, err := s.revertFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	_, _, err = s.fluxReady(ctx, back, devicesIn)
	return engineOutcome{harness.Outcome{From: "push", To: "failed", Took: at.Sub(c.at)}, said.String()}, err
}

// revertFirst has the first device take values again, and the edit of editFirst undone.
func (s *site) revertFirst(ctx context.Context) (commit, error) {
	if err := s.Hub.Behave(ctx, s.device(1), harness.TargetProperty, simulator.Acknowledge()); err != nil {
		return commit{}, err
	}
	if err := s.replace(s.line(1), "targetTemperature: 24", "targetTemperature: 21.5"); err != nil {
		return commit{}, err
	}
	return s.commit(ctx, "Line 1 as it was")
}

// wrongValueInGit breaks the model with one device and edits another one in the same commit.
func wrongValueInGit(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.replace(s.line(1), "targetTemperature: 21.5", `targetTemperature: "warm"`); err != nil {
		return engineOutcome{}, err
	}
	if err := s.replace(s.line(2), "targetTemperature: 19", "targetTemperature: 18"); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.commit(ctx, "Warm")
	if err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxFails(ctx, c, devicesIn, "spec.properties.targetTemperature", `"warm"`, `DeviceModel "thermostat"`)
	if err != nil {
		return engineOutcome{}, err
	}
	if got, ok, err := s.holds(ctx, s.device(2), harness.TargetProperty, 19); err != nil || !ok {
		return engineOutcome{}, orMiss(err, "the other device's value", "19", got)
	}
	return engineOutcome{harness.Outcome{From: "push", To: "refused", Took: at.Sub(c.at)}, said.String()}, nil
}

// pruneAndAddAgain reconciles a command that ran, takes it out of Git, and brings it back.
func pruneAndAddAgain(ctx context.Context, s *site) (engineOutcome, error) {
	for range 3 {
		if _, err := s.reconcile(ctx, commandsIn); err != nil {
			return engineOutcome{}, err
		}
	}
	if err := s.checkRan(ctx, s.device(1), 1); err != nil {
		return engineOutcome{}, err
	}
	content, err := s.read(s.in(commandsIn, reportFile))
	if err != nil {
		return engineOutcome{}, err
	}
	if err := s.remove(commandsIn, reportFile); err != nil {
		return engineOutcome{}, err
	}
	if err := s.write(s.in(commandsIn, "kustomization.yaml"), "namespace: "+s.name+"\nresources: []\n"); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.commit(ctx, "No command")
	if err != nil {
		return engineOutcome{}, err
	}
	if _, _, err := s.fluxReady(ctx, c, commandsIn); err != nil {
		return engineOutcome{}, err
	}
	if err := s.checkRan(ctx, s.device(1), 1); err != nil {
		return engineOutcome{}, err
	}
	if err := s.write(s.in(commandsIn, reportFile), content); err != nil {
		return engineOutcome{}, err
	}
	if err := s.write(s.in(commandsIn, "kustomization.yaml"), "namespace: "+s.name+"\nresources:\n- "+reportFile+"\n"); err != nil {
		return engineOutcome{}, err
	}
	again, err := s.commit(ctx, "The command again")
	if err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxReady(ctx, again, commandsIn)
	if err != nil {
		return engineOutcome{}, err
	}
	return engineOutcome{harness.Outcome{From: "push", To: "Ready with the outcome on record", Took: at.Sub(again.at)}, said.String()}, s.checkRan(ctx, s.device(1), 1)
}

// failingCommand adds a command that the device answers with an error.
func failingCommand(ctx context.Context, s *site) (engineOutcome, error) {
	if err := s.Hub.AnswerCommand(ctx, s.device(1), "getMaxMinReport", simulator.CommandAnswer{Status: 503}); err != nil {
		return engineOutcome{}, err
	}
	content, err := s.read(s.in(commandsIn, reportFile))
	if err != nil {
		return engineOutcome{}, err
	}
	content = strings.Replace(content, "name: line-1-report-2026-11-29", "name: failing", 1)
	if err := s.add(commandsIn, "failing.yaml", content); err != nil {
		return engineOutcome{}, err
	}
	c, err := s.editFirst(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	said, at, err := s.fluxFails(ctx, c, commandsIn, "HealthCheckFailed", "failing")
	if err != nil {
		return engineOutcome{}, err
	}
	_, _, err = s.fluxReady(ctx, c, devicesIn)
	return engineOutcome{harness.Outcome{From: "push", To: "failed", Took: at.Sub(c.at)}, said.String()}, err
}

// editedByHand changes a declared value and adds a property, as a person with kubectl does.
func editedByHand(ctx context.Context, s *site) (engineOutcome, error) {
	patch := `{"spec":{"properties":{"targetTemperature":30,"other":1}}}`
	err := s.bash(ctx, "kubectl patch pnpdevice "+s.device(2)+" -n "+s.name+" --type=merge --patch "+harness.ShellQuoted(patch))
	if err != nil {
		return engineOutcome{}, err
	}
	if err := s.untilBoth(ctx, 30, 1); err != nil {
		return engineOutcome{}, err
	}
	began := time.Now()
	said, err := s.reconcile(ctx, devicesIn)
	if err != nil {
		return engineOutcome{}, err
	}
	err = s.untilBoth(ctx, 19, nil)
	return engineOutcome{harness.Outcome{From: "reconciliation", To: "put back at the hub", Took: time.Since(began)}, said.String()}, err
}

// untilBoth waits until the hub holds the second device's temperature, and another property.
func (s *site) untilBoth(ctx context.Context, temperature, other any) error {
	if _, err := s.untilHeld(ctx, s.device(2), harness.TargetProperty, temperature); err != nil {
		return err
	}
	_, err := s.untilHeld(ctx, s.device(2), "other", other)
	return err
}

// withOddNumbers adds a device with values that YAML and JSON write in more than one way.
func withOddNumbers(s *site) error {
	return s.add(devicesIn, "odd.yaml", fmt.Sprintf(`apiVersion: iot.pnp-operator.io/v1alpha1
kind: PnPDevice
metadata:
  name: %s-odd
spec:
  hubRef:
    name: %s
  readyWhen: Applied
  properties:
    float: 42.0
    exp: 1e3
    small: 1.5e-7
    negzero: -0.0
    big: 4503599627370495
    huge: 1e300
    hex: 0x1F
    octal: 0o17
    underscore: 1_000
    text: "42"
    empty: {}
    nested: {a: {b: {}}, c: 1.0}
  components:
  - name: c1
    properties: {}
  - name: c2
`, s.name, s.hubName()))
}

func quietPasses(ctx context.Context, s *site) (engineOutcome, error) {
	before, err := s.settled(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	began := time.Now()
	var said fluxState
	for range 5 {
		for _, folder := range folders {
			if said, err = s.reconcile(ctx, folder); err != nil {
				return engineOutcome{}, err
			}
		}
	}
	took := time.Since(began)
	after, err := s.snapshot(ctx)
	if err != nil {
		return engineOutcome{}, err
	}
	if !slices.Equal(before, after) {
		return engineOutcome{}, harness.Missed("objects and hub calls after five passes", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	return engineOutcome{harness.Outcome{From: "first pass", To: "last pass", Took: took}, said.String()}, nil
}

// settled waits until nothing changed for two seconds, as after a start.
func (s *site) settled(ctx context.Context) ([]string, error) {
	last, since := []string(nil), time.Now()
	_, err := s.until(ctx, "the site", "nothing changes for 2 s", func(ctx context.Context) (string, bool, error) {
		now, err := s.snapshot(ctx)
		if err != nil {
			return "", false, err
		}
		if !slices.Equal(now, last) {
			last, since = now, time.Now()
		}
		return strings.Join(now, "\n"), time.Since(since) > 2*time.Second, nil
	})
	return last, err
}
