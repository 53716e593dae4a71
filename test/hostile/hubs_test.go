package hostile

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

var hubAttacks = []attack{
	{name: "slow-hub", title: "64 devices at a hub that answers after 60 s", play: slowHub},
	{name: "dead-endpoints", title: "120 IoTHubs at an address that accepts and is silent; the victim makes IoTHubs", play: deadEndpoints, other: newIoTHub},
	{name: "slow-repository", title: "60 DeviceModels at a repository that drips; the victim makes DeviceModels", play: slowRepository, other: newModel},
	{name: "group-squatting", title: "an IoTHub without a credential names the victim's consumer group, at three restarts", restarts: true, play: squatGroup},
	{name: "endless-pages", title: "a hub whose answers to queries never end", quick: true, play: endlessQuery},
	{name: "host-squatting", title: "an IoTHub for the victim's host at a server of its own, with a tiny budget", play: squatHost},
	{name: "secret-flips", title: "a Secret that changes six times a second", play: flipSecret},
}

// slowFor is how long the operator is kept busy by a peer that does not answer.
const slowFor = 25 * time.Second

// keepUp lets time pass while the victim works, unless the operator ends.
func keepUp(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func slowHub(ctx context.Context, h *hostileRun) (string, error) {
	const devices = 64
	if err := h.addTheirHub(ctx, nil); err != nil {
		return "", err
	}
	if err := h.theirs.Hub.AddDevices(ctx, "slow-%02d", devices, simulator.Spec{Model: simulator.Thermostat}); err != nil {
		return "", err
	}
	slow := simulator.Fault{Kind: simulator.FaultLatency, Latency: time.Minute, Count: simulator.Forever}
	if _, err := h.theirs.Hub.AddFault(ctx, slow); err != nil {
		return "", err
	}
	for i := range devices {
		if err := h.createAll(ctx, deviceOf(fmt.Sprintf("slow-%02d", i))); err != nil {
			return "", err
		}
	}
	return "nobody else waits for it", keepUp(ctx, slowFor)
}

func deadEndpoints(ctx context.Context, h *hostileRun) (string, error) {
	for i := range 120 {
		name := fmt.Sprintf("dead-%03d", i)
		hub, err := h.hubOf(name)
		if err != nil {
			return "", err
		}
		hub.Spec.Endpoint = "https://" + h.impostor.silent.address
		hub.Spec.Authentication.ConnectionStringSecretRef.Name = name
		if err := h.createAll(ctx, h.secretOf(name), hub); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d IoTHubs of the victim became Ready beside", h.named), keepUp(ctx, slowFor)
}

func slowRepository(ctx context.Context, h *hostileRun) (string, error) {
	h.impostor.play(drip)
	for i := range 60 {
		model := &v1alpha1.DeviceModel{ObjectMeta: inTheirs(fmt.Sprintf("slow-%02d", i)), Spec: v1alpha1.DeviceModelSpec{
			ModelID: fmt.Sprintf("dtmi:com:example:slow%d;1", i), Repository: &v1alpha1.ModelRepository{URL: h.impostor.url()},
		}}
		if err := h.createAll(ctx, model); err != nil {
			return "", err
		}
	}
	err := keepUp(ctx, slowFor)
	if err == nil && h.impostor.requests() == 0 {
		err = harness.Missed("requests to the repository", "some", "none: nothing was attacked")
	}
	return "models of the victim became Ready beside", err
}

func squatGroup(ctx context.Context, h *hostileRun) (string, error) {
	squatter := &v1alpha1.IoTHub{ObjectMeta: inTheirs("squatter"), Spec: v1alpha1.IoTHubSpec{
		HostName: "mine.azure-devices.net",
		Authentication: v1alpha1.HubAuthentication{WorkloadIdentity: &v1alpha1.WorkloadIdentity{
			ClientID: harness.IdentityClient, TenantID: "contoso.com", ServiceAccountName: "default",
		}},
		Events: &v1alpha1.EventSource{EventHub: &v1alpha1.EventHub{FullyQualifiedNamespace: "iothub-ns-factory.servicebus.windows.net", Name: "iothub-ehub-factory"}},
	}}
	if err := h.createAll(ctx, squatter); err != nil {
		return "", err
	}
	for i := range 3 {
		if err := h.operator.restart(ctx); err != nil {
			return "", err
		}
		if err := h.streams(ctx); err != nil {
			return "", fmt.Errorf("restart %d: %w", i+1, err)
		}
	}
	return "the victim's events are read after each restart", nil
}

// streams waits until an edit arrived after a start of the operator, and the victim's events are read.
func (h *hostileRun) streams(ctx context.Context) error {
	var hub v1alpha1.IoTHub
	late := func() error {
		return harness.Missed("the victim's event stream", "ready within "+withinPromise.String(), said(hub.Status.Conditions))
	}
	began := metav1.Now()
	return harness.PollEvery(ctx, 200*time.Millisecond, withinPromise, late, func(ctx context.Context) (bool, error) {
		err := h.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: harness.SampleHub}, &hub)
		condition := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionEventStreamReady)
		settled := time.Since(began.Time) > 5*time.Second // status may still be that of the process before
		return settled && condition != nil && condition.Status == metav1.ConditionTrue, err
	})
}

func endlessQuery(ctx context.Context, h *hostileRun) (string, error) {
	h.impostor.play(hubWith(endlessPages))
	err := h.addTheirHub(ctx, func(spec *v1alpha1.IoTHubSpec) {
		spec.Endpoint, spec.CABundle = h.impostor.url(), h.impostor.ca
		spec.SweepIntervalSeconds, spec.RequestBudget.QueriesPerMinute = 5, 1_000_000
	})
	if err != nil {
		return "", err
	}
	if err := h.createAll(ctx, deviceOf("x0")); err != nil {
		return "", err
	}
	if err := keepUp(ctx, 20*time.Second); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d requests in 20 s", h.impostor.requests()), nil
}

// squatHost has an impostor of the victim's hub say whatever the attacker wants, which is nothing to the victim.
func squatHost(ctx context.Context, h *hostileRun) (string, error) {
	h.impostor.play(hubWith(noRows))
	tiny := v1alpha1.RequestBudget{TwinReadsPerSecond: 1, TwinWritesPerSecond: 1, QueriesPerMinute: 1, CommandsPerSecond: 1, DailyMessages: 10}
	secret := &corev1.Secret{ObjectMeta: inTheirs(theirHub), StringData: map[string]string{
		harness.SecretKey: "HostName=" + h.HubEnv["HUB_HOST_NAME"] + ";SharedAccessKeyName=mine;SharedAccessKey=" + base64.StdEncoding.EncodeToString([]byte("made up by the attacker, 32 bytes")),
	}}
	hub := &v1alpha1.IoTHub{ObjectMeta: inTheirs(theirHub), Spec: v1alpha1.IoTHubSpec{
		HostName: h.HubEnv["HUB_HOST_NAME"], Endpoint: h.impostor.url(), CABundle: h.impostor.ca, RequestBudget: tiny,
		Authentication: v1alpha1.HubAuthentication{ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: theirHub, Key: harness.SecretKey}},
	}}
	if err := h.createAll(ctx, secret, hub); err != nil {
		return "", err
	}
	squatter := deviceOf("squatter")
	squatter.Spec.DeviceID, squatter.Spec.Management, squatter.Spec.Properties = "claimed", v1alpha1.ManagementObserve, nil
	if err := h.createAll(ctx, squatter); err != nil {
		return "", err
	}
	if err := keepUp(ctx, 10*time.Second); err != nil { // twice the messages of a day
		return "", err
	}
	return "the victim's budget and devices stay", h.declareBeside(ctx, "claimed")
}

// declareBeside has the victim declare a device that the attacker claimed before at the impostor.
func (h *hostileRun) declareBeside(ctx context.Context, name string) error {
	if err := h.Hub.AddDevice(ctx, name, simulator.Spec{Model: simulator.Thermostat}); err != nil {
		return err
	}
	device := deviceOf(name)
	device.Namespace, device.Spec.HubRef.Name = harness.Namespace, harness.SampleHub
	if err := h.Client.Create(ctx, device); err != nil {
		return err
	}
	defer func() { _ = h.Client.Delete(context.WithoutCancel(ctx), device) }() // in the way of nobody
	return h.untilTrue(ctx, device, v1alpha1.ConditionReady, func() []metav1.Condition { return device.Status.Conditions })
}

// moreGoroutinesAfterFlips is how many more there may be: connections that idle are closed after a while.
const moreGoroutinesAfterFlips = 15

func flipSecret(ctx context.Context, h *hostileRun) (string, error) {
	if err := h.addTheirHub(ctx, h.withEvents); err != nil {
		return "", err
	}
	before, err := h.operator.goroutines(ctx)
	if err != nil {
		return "", err
	}
	flips := 0
	for end := time.Now().Add(slowFor); time.Now().Before(end); flips++ {
		other := h.theirs.HubEnv["EVENTHUB_CONNECTION_STRING"] + strings.Repeat(";", flips%2) // the same, written otherwise
		patch := fmt.Appendf(nil, `{"stringData":{%q:%q}}`, harness.EventsKey, other)
		if err := h.attacker.Patch(ctx, &corev1.Secret{ObjectMeta: inTheirs(theirHub)}, client.RawPatch(types.MergePatchType, patch)); err != nil {
			return "", err
		}
		if err := keepUp(ctx, 160*time.Millisecond); err != nil {
			return "", err
		}
	}
	after := 0
	late := func() error {
		return harness.Missed(fmt.Sprintf("goroutines after %d changes", flips), fmt.Sprintf("at most %d", before+moreGoroutinesAfterFlips), fmt.Sprint(after))
	}
	err = harness.PollEvery(ctx, time.Second, withinPromise, late, func(ctx context.Context) (_ bool, err error) {
		after, err = h.operator.goroutines(ctx)
		return after <= before+moreGoroutinesAfterFlips, err
	})
	return fmt.Sprintf("%d changes, %d goroutines and %d before", flips, after, before), err
}
