package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

var deviceAttacks = []attack{
	{name: "unstorable", title: "devices report numbers that Kubernetes cannot hold", quick: true, play: unstorable},
	{name: "big-status", title: "a device reports more than etcd takes, in control characters", quick: true, play: bigStatus},
	{name: "brim", title: "a device fills its object up to the brim of what etcd takes", play: brim},
	{name: "text", title: "a device says escapes, bells, forged lines and text that runs backwards", quick: true, play: hostileText},
	{name: "wide-sweep", title: "14 devices with 10,000 tiny properties each, and a sweep by value", restarts: true, play: wideSweep},
	{name: "huge-twin", title: "a device with a twin of 10 MB, and a sweep by value", restarts: true, play: hugeTwin},
	{name: "telemetry", title: "a backlog of telemetry of 241 KB a message on 32 partitions", play: telemetryFlood},
	{name: "ack-flips", title: "a device that flips between acknowledgements, 100 a second", play: ackFlips},
	{name: "connection-storm", title: "a device that connects and disconnects, 100 times a second", play: connectionStorm},
	{name: "reported-storm", title: "a device with 2,000 mirrored properties that reports 100 times a second", play: reportedStorm},
}

// stillTakes declares one more value, which has to arrive: an object whose status cannot be stored takes nothing. Its status has to be of that declaration.
func (h *hostileRun) stillTakes(ctx context.Context, name string) error {
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"properties":{"fanSpeed":3}}}`))
	device := deviceOf(name)
	if err := h.attacker.Patch(ctx, device, patch); err != nil {
		return err
	}
	if err := h.theirValue(ctx, 3.0, name, "fanSpeed"); err != nil {
		return err
	}
	late := func() error {
		return harness.Missed("status of "+name, fmt.Sprintf("of generation %d within %s", device.Generation, withinPromise), fmt.Sprintf("of %d; %s", device.Status.ObservedGeneration, said(device.Status.Conditions)))
	}
	return harness.PollEvery(ctx, 200*time.Millisecond, withinPromise, late, func(ctx context.Context) (bool, error) {
		err := h.Client.Get(ctx, client.ObjectKeyFromObject(device), device)
		return device.Status.ObservedGeneration == device.Generation, err
	})
}

// mirrorAll has everything that a device reports shown in status.
func mirrorAll(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll }

// mirrored connects and declares devices all of whose reports are shown.
func (h *hostileRun) mirrored(ctx context.Context, names ...string) error {
	if err := h.addTheirHub(ctx, h.withEvents); err != nil {
		return err
	}
	return h.declareTheirs(ctx, mirrorAll, names...)
}

func unstorable(ctx context.Context, h *hostileRun) (string, error) {
	reports := map[string]string{
		"num-0": `{"y":1e400}`,
		"num-1": `{"targetTemperature":{"value":1e400,"ac":200,"av":2}}`,
		"num-2": `{"y":[[1,-1e999]]}`,
		"num-3": `{"y":{"z":{"deep":0.1e309}},"x":-0.0}`,
	}
	if err := h.mirrored(ctx, "num-0", "num-1", "num-2", "num-3"); err != nil {
		return "", err
	}
	for name, report := range reports {
		if err := h.theirs.Hub.PatchReported(ctx, name, report); err != nil {
			return "", err
		}
	}
	for name, report := range reports {
		if err := h.stillTakes(ctx, name); err != nil {
			return "", fmt.Errorf("after the report %s: %w", report, err)
		}
	}
	return "declared values arrive, and status is of the declaration", nil
}

// etcdTakes is the largest request that etcd takes by default, in bytes.
const etcdTakes = 1536 << 10

// control is text as long as the hub allows, of characters that JSON writes in six bytes each.
func control(n int) []member {
	value, _ := json.Marshal(strings.Repeat("\x01", 4096)) //nolint:errchkjson // a string has a JSON form
	members := make([]member, n)
	for i := range members {
		members[i] = member{fmt.Sprintf("p%02d", i), string(value)}
	}
	return members
}

func bigStatus(ctx context.Context, h *hostileRun) (string, error) {
	if err := h.mirrored(ctx, "big"); err != nil {
		return "", err
	}
	if err := h.reports(ctx, "big", control(70), 9); err != nil {
		return "", err
	}
	if err := h.stillTakes(ctx, "big"); err != nil {
		return "", err
	}
	size, err := h.sizeOf(ctx, "big")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("declared values arrive, and the object has %d KB", size/1000), h.labelAndDelete(ctx, "big")
}

// sizeOf is how many bytes a PnPDevice has in etcd.
func (h *hostileRun) sizeOf(ctx context.Context, name string) (int, error) {
	device, err := h.theirDevice(ctx, name)
	if err != nil {
		return 0, err
	}
	raw, err := json.Marshal(device)
	return len(raw), err
}

// labelAndDelete does what a user can do with every object. The values of the declaration are cleared on the way.
func (h *hostileRun) labelAndDelete(ctx context.Context, name string) error {
	as := []string{"--as=" + attackerUser, "-n", attackerNamespace}
	if _, err := h.Kubectl.Output(ctx, "", append([]string{"label", harness.DevicesResource, name, "team=a"}, as...)...); err != nil {
		return err
	}
	if _, err := h.Kubectl.Output(ctx, "", append([]string{"delete", harness.DevicesResource, name, "--wait=false"}, as...)...); err != nil {
		return err
	}
	late := func() error {
		return harness.Missed("PnPDevice "+name, "gone within "+withinPromise.String(), "still there")
	}
	return harness.PollEvery(ctx, 200*time.Millisecond, withinPromise, late, func(ctx context.Context) (bool, error) {
		_, err := h.theirDevice(ctx, name)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

// brim has the object grow until there is no room left for a timestamp of deletion.
func brim(ctx context.Context, h *hostileRun) (string, error) {
	cleared := func(spec *v1alpha1.PnPDeviceSpec) {
		mirrorAll(spec)
		spec.DeletionPolicy = v1alpha1.DeletionClear
	}
	if err := h.addTheirHub(ctx, h.withEvents); err != nil {
		return "", err
	}
	if err := h.declareTheirs(ctx, cleared, "brim"); err != nil {
		return "", err
	}
	if err := h.reports(ctx, "brim", control(63), 9); err != nil {
		return "", err
	}
	size, err := h.settled(ctx, "brim")
	if err != nil {
		return "", err
	}
	plain := 26_000                                                    // bytes that the hub takes beside, which counts no control characters
	for room := etcdTakes - size; room > 100 && plain > 0; room /= 2 { // a step that is too large is not stored, the next is half of it
		step := min(room/2, plain)
		plain -= step
		if err := h.theirs.Hub.PatchReported(ctx, "brim", padding(size, step)); err != nil {
			return "", err
		}
		if size, err = h.settled(ctx, "brim"); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("the object has %d KB at most", size/1000), h.labelAndDelete(ctx, "brim")
}

// padding is plain text of so many bytes, in properties as long as the hub allows.
func padding(seed, size int) string {
	var members []member
	for ; size > 0; size -= 4000 {
		members = append(members, member{fmt.Sprintf("q%d-%d", seed, size), `"` + strings.Repeat("x", min(size, 4000)) + `"`})
	}
	return objectOf(members)
}

// settled returns the size of a PnPDevice once that has not changed for a while.
func (h *hostileRun) settled(ctx context.Context, name string) (int, error) {
	size, since := 0, time.Now()
	late := func() error { return harness.Missed("the size of "+name, "settles", fmt.Sprint(size)) }
	err := harness.PollEvery(ctx, 250*time.Millisecond, withinPromise, late, func(ctx context.Context) (bool, error) {
		now, err := h.sizeOf(ctx, name)
		if now != size {
			size, since = now, time.Now()
		}
		return time.Since(since) > 2*time.Second, err
	})
	return size, err
}

const (
	// hostileWords rename the terminal's window, clear it, colour it, ring its bell, turn its text around, and end a line to begin another.
	hostileWords = "\x1b]0;OWNED\x07\x1b[2J\u009b32m \u202egnp.exe \x00\x7f\u2028 \r\n" + forgedLine
	forgedLine   = "line-9 factory-hub line-9 Connected 2/2 True all is well"
)

func hostileText(ctx context.Context, h *hostileRun) (string, error) {
	if err := h.addTheirHub(ctx, h.withEvents); err != nil {
		return "", err
	}
	if err := h.connectTheirs(ctx, "evil"); err != nil {
		return "", err
	}
	if err := h.theirs.Hub.Behave(ctx, "evil", "", simulator.Reject(400, hostileWords)); err != nil {
		return "", err
	}
	if err := h.createAll(ctx, deviceOf("evil")); err != nil {
		return "", err
	}
	if err := h.untilRejected(ctx, "evil"); err != nil {
		return "", err
	}
	for _, words := range [][]string{
		{"get", harness.DevicesResource}, {"get", harness.DevicesResource, "-o", "wide"}, {"describe", harness.DevicesResource, "evil"}, {"events"},
		{"get", harness.DevicesResource, "-o", "json"}, {"get", harness.DevicesResource, "-o", "yaml"}, {"get", harness.DevicesResource, "evil", "-o", "jsonpath={.status}"},
		{"get", harness.DevicesResource, "evil", "-o", `jsonpath={.status.conditions[*].message}{.status.properties[*].ackDescription}`},
	} {
		out, err := h.Kubectl.Output(ctx, "", append(words, "-n", attackerNamespace)...)
		if err != nil {
			return "", err
		}
		if found := unsafeRunes(out); len(found) > 0 {
			return "", harness.Missed("kubectl "+strings.Join(words, " "), "nothing that a terminal acts on", strings.Join(found, " "))
		}
		if hasLine(out, forgedLine) {
			return "", harness.Missed("kubectl "+strings.Join(words, " "), "no line by the device", forgedLine)
		}
	}
	return "shown by eight commands of kubectl without anything that a terminal acts on", nil
}

func (h *hostileRun) untilRejected(ctx context.Context, name string) error {
	var device *v1alpha1.PnPDevice
	late := func() error { return harness.Missed("status of "+name, "Rejected", harness.DescribeDevice(device)) }
	return harness.PollEvery(ctx, 200*time.Millisecond, withinPromise, late, func(ctx context.Context) (_ bool, err error) {
		device, err = h.theirDevice(ctx, name)
		return err == nil && harness.PropertyOf(device, harness.TargetProperty).AckCode == 400, err
	})
}

// unsafeRunes lists what of a text a terminal may act on: control characters other than the ends of lines and tabs, those that change the direction of text or end
// a line in Unicode, and what is no text at all.
func unsafeRunes(text string) []string {
	seen := map[rune]bool{}
	var found []string
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		isBroken := r == utf8.RuneError && size == 1
		isPlain := r == '\n' || r == '\t' || !unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
		if (isPlain && !isBroken) || seen[r] {
			continue
		}
		seen[r] = true
		found = append(found, fmt.Sprintf("%U", r))
	}
	return found
}

// hasLine is whether a line of a text begins in some way.
func hasLine(text, begin string) bool {
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if strings.HasPrefix(strings.TrimSpace(line), begin) {
			return true
		}
	}
	return false
}

// tiny are so many properties with the shortest names that there are, and empty values.
func tiny(n int) []member {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	members := make([]member, n)
	for i := range members {
		name := ""
		for rest := i; rest > 0 || name == ""; rest /= len(letters) {
			name += string(letters[rest%len(letters)])
		}
		members[i] = member{name, `""`}
	}
	return members
}

func wideSweep(ctx context.Context, h *hostileRun) (string, error) {
	names := []string{"swept"}
	for i := range 14 {
		names = append(names, fmt.Sprintf("wide-%02d", i))
	}
	return sweepBeside(ctx, h, names, func() error {
		for _, name := range names[1:] {
			if err := h.reports(ctx, name, tiny(10_000), 1000); err != nil {
				return err
			}
		}
		return nil
	})
}

func hugeTwin(ctx context.Context, h *hostileRun) (string, error) {
	return sweepBeside(ctx, h, []string{"swept", "huge"}, func() error { return h.reports(ctx, "huge", control(400), 9) })
}

// sweepBeside has devices swept whose twins are hard to read, and wants the drift of another one of the hub found all the same.
func sweepBeside(ctx context.Context, h *hostileRun, names []string, spoil func() error) (string, error) {
	if err := h.addTheirHub(ctx, func(spec *v1alpha1.IoTHubSpec) { spec.SweepIntervalSeconds = 5 }); err != nil {
		return "", err
	}
	if err := h.declareTheirs(ctx, nil, names...); err != nil {
		return "", err
	}
	if err := spoil(); err != nil {
		return "", err
	}
	if err := h.operator.restart(ctx); err != nil { // it then knows of nothing, and sweeps by value
		return "", err
	}
	if err := h.theirs.Hub.PatchDesired(ctx, names[0], `{"targetTemperature":-9}`, ""); err != nil {
		return "", err
	}
	began := time.Now()
	err := h.theirValue(ctx, 20.0, names[0], harness.TargetProperty)
	return fmt.Sprintf("drift of another device found after %.0f s", time.Since(began).Seconds()), err
}

func telemetryFlood(ctx context.Context, h *hostileRun) (string, error) {
	const messages = 1600
	names := make([]string, 64) // their ids decide on partitions
	for i := range names {
		names[i] = fmt.Sprintf("loud-%02d", i)
		if err := h.connectTheirs(ctx, names[i]); err != nil {
			return "", err
		}
	}
	if err := h.addTheirHub(ctx, h.withEvents); err != nil {
		return "", err
	}
	if err := h.declareTheirs(ctx, nil, "heard"); err != nil {
		return "", err
	}
	if err := h.theirs.Hub.StallPartition(ctx, ""); err != nil {
		return "", err
	}
	body := `"` + strings.Repeat("t", 241_000) + `"`
	for _, err := range together(8, func(lane int) error {
		for i := lane; i < messages; i += 8 {
			if err := h.theirs.Hub.SendTelemetry(ctx, names[i%len(names)], "", body); err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			return "", err
		}
	}
	if err := h.theirs.Hub.ReleasePartitions(ctx); err != nil {
		return "", err
	}
	began := time.Now()
	if err := h.theirs.Hub.PatchDesired(ctx, "heard", `{"targetTemperature":-9}`, ""); err != nil {
		return "", err
	}
	err := h.theirValueWithin(ctx, 3*withinPromise, 20.0, "heard", harness.TargetProperty)
	return fmt.Sprintf("%d MB read, and drift behind it found after %.1f s", messages*241/1000, time.Since(began).Seconds()), err
}

// fewPatches is how many changes of status a storm at one device may cost within stormTime.
const (
	fewPatches = 30
	stormTime  = 8 * time.Second
)

// storms has a device do something again and again, and wants few changes of status for it.
func storms(ctx context.Context, h *hostileRun, name string, prepare func() error, act func(n int) error) (string, error) {
	if err := h.mirrored(ctx, name); err != nil {
		return "", err
	}
	if err := prepare(); err != nil {
		return "", err
	}
	watched, cancel := context.WithTimeout(ctx, stormTime)
	defer cancel()
	changes, err := h.countChanges(watched)
	if err != nil {
		return "", err
	}
	n := 0
	for tick := time.NewTicker(10 * time.Millisecond); watched.Err() == nil; n++ {
		if err := act(n); err != nil {
			tick.Stop()
			return "", harness.CauseOf(ctx, err)
		}
		select {
		case <-tick.C:
		case <-watched.Done():
			tick.Stop()
		}
	}
	got := <-changes
	if got > fewPatches {
		return "", harness.Missed(fmt.Sprintf("changes of status by %d acts of the device", n), fmt.Sprintf("at most %d", fewPatches), fmt.Sprint(got))
	}
	return fmt.Sprintf("%d acts, %d changes of status", n, got), h.stillTakes(ctx, name)
}

// countChanges counts changes of the attacker's PnPDevices until ctx ends, and then tells.
func (h *hostileRun) countChanges(ctx context.Context) (<-chan int, error) {
	events, err := h.Client.Watch(ctx, &v1alpha1.PnPDeviceList{}, client.InNamespace(attackerNamespace))
	if err != nil {
		return nil, err
	}
	told := make(chan int, 1)
	go func() {
		n := 0
		for e := range events.ResultChan() {
			if e.Type == watch.Modified {
				n++
			}
		}
		told <- n
	}()
	return told, nil
}

func nothing() error { return nil }

func ackFlips(ctx context.Context, h *hostileRun) (string, error) {
	return storms(ctx, h, "flip", nothing, func(n int) error {
		acks := []string{`{"value":20,"ac":200,"av":2,"ad":"ok"}`, fmt.Sprintf(`{"value":20,"ac":400,"av":2,"ad":"no %d"}`, n), `{"value":20,"ac":200,"av":1,"ad":"old"}`}
		return h.theirs.Hub.PatchReported(ctx, "flip", `{"targetTemperature":`+acks[n%len(acks)]+`}`)
	})
}

func connectionStorm(ctx context.Context, h *hostileRun) (string, error) {
	return storms(ctx, h, "blink", nothing, func(n int) error {
		if n%2 == 0 {
			return h.theirs.Hub.Offline(ctx, "blink")
		}
		return h.theirs.Hub.Online(ctx, "blink")
	})
}

func reportedStorm(ctx context.Context, h *hostileRun) (string, error) {
	return storms(ctx, h, "wide", func() error {
		return h.reports(ctx, "wide", tiny(2000), 1000)
	}, func(n int) error {
		return h.theirs.Hub.PatchReported(ctx, "wide", fmt.Sprintf(`{"aa":%d}`, n))
	})
}
