package command

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const modelA, modelB = "dtmi:com:example:A;1", "dtmi:com:example:B;1"

// situation is what is known of a device when a command for it is looked at.
type situation struct {
	device func(*v1alpha1.PnPDevice)
	hub    func(*v1alpha1.IoTHub)
	others []client.Object
	// memory is what the process saw of the device; nil: it has just started.
	memory func(*session.Device)
	// there is the model that the device has, "": modelA.
	there   string
	readErr error
}

// model declares one, and says which one status shows.
func model(declared, shown string) func(*v1alpha1.PnPDevice) {
	return func(d *v1alpha1.PnPDevice) { d.Spec.ModelID, d.Status.ModelID = declared, shown }
}

func read(model string) func(*session.Device) {
	return func(d *session.Device) {
		_, _ = (&session.Pass{Device: d}).Read(func() (*twin.Twin, error) { return &twin.Twin{ModelID: model}, nil })
	}
}

func readThen(model string, then func(*session.Device)) func(*session.Device) {
	return func(d *session.Device) { read(model)(d); then(d) }
}

// comesBack is an event of the device's connection.
func comesBack(d *session.Device) {
	d.Connection("Connected", "01", time.Now(), session.Place{}, func() session.Belief { return session.Belief{} })
}

// rival is another declaration of the device.
func rival(edit func(*v1alpha1.PnPDevice)) *v1alpha1.PnPDevice {
	d := &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "rival", UID: "rival"},
		Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}, DeviceID: "d"},
	}
	edit(d)
	return d
}

func isIncumbent(d *v1alpha1.PnPDevice) {
	d.Status.Twin = &v1alpha1.TwinReference{Hub: "h", DeviceID: "d", Etag: "e"}
}

func isNew(d *v1alpha1.PnPDevice) { d.Status.Twin = nil }

var aModel = &v1alpha1.DeviceModel{ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "m"}, Spec: v1alpha1.DeviceModelSpec{ModelID: "dtmi:com:example:C;1"}}

var situations = map[string]struct {
	situation

	reason string // that the command waits for; "": it is sent
	reads  int    // of the hub, at most one for each look
}{
	"its device was read":                            {situation{}, "", 0},
	"nothing was read yet":                           {situation{device: isNew}, v1alpha1.ReasonProgressing, 0},
	"status is about another hub":                    {situation{device: func(d *v1alpha1.PnPDevice) { d.Status.Twin.Hub = "other" }}, v1alpha1.ReasonProgressing, 0},
	"status is about another device":                 {situation{device: func(d *v1alpha1.PnPDevice) { d.Spec.DeviceID = "other" }}, v1alpha1.ReasonProgressing, 0},
	"the IoTHub is not ready":                        {situation{hub: func(h *v1alpha1.IoTHub) { h.Status.Conditions[0].Status = metav1.ConditionFalse }}, v1alpha1.ReasonHubNotReady, 0},
	"the session is that of an earlier host":         {situation{hub: func(h *v1alpha1.IoTHub) { h.Spec.HostName = "new" }, device: func(d *v1alpha1.PnPDevice) { d.Status.Twin.Hub = "new" }}, "nothing", 0},
	"the object is suspended":                        {situation{device: func(d *v1alpha1.PnPDevice) { d.Spec.Suspend = true }}, v1alpha1.ReasonSuspended, 0},
	"the IoTHub is suspended":                        {situation{hub: func(h *v1alpha1.IoTHub) { h.Spec.Suspend = true }}, v1alpha1.ReasonHubSuspended, 0},
	"another object has the device":                  {situation{device: isNew, others: []client.Object{rival(isIncumbent)}}, v1alpha1.ReasonDeviceAlreadyDeclared, 0},
	"another object wants the device":                {situation{others: []client.Object{rival(isNew)}}, "", 0},
	"two objects had the device, this one is later":  {situation{device: func(d *v1alpha1.PnPDevice) { d.CreationTimestamp = metav1.Now() }, others: []client.Object{rival(isIncumbent)}}, v1alpha1.ReasonDeviceAlreadyDeclared, 0},
	"the model was read":                             {situation{device: model(modelA, modelA), memory: read(modelA)}, "", 0},
	"the model was read, status is behind":           {situation{device: model(modelA, ""), memory: read(modelA)}, "", 0},
	"another model was read":                         {situation{device: model(modelA, modelA), memory: read(modelB)}, v1alpha1.ReasonModelMismatch, 0},
	"another model is declared by now":               {situation{device: model(modelB, modelA), memory: read(modelA)}, v1alpha1.ReasonModelMismatch, 0},
	"no model was announced":                         {situation{device: model(modelA, ""), memory: read("")}, v1alpha1.ReasonModelMismatch, 0},
	"the operator has just started":                  {situation{device: model(modelA, modelA)}, "", 1},
	"it came back as another one before the start":   {situation{device: model(modelA, modelA), there: modelB}, v1alpha1.ReasonModelMismatch, 1},
	"it came back":                                   {situation{device: model(modelA, modelA), memory: readThen(modelA, comesBack)}, "", 1},
	"it came back as another one":                    {situation{device: model(modelA, modelA), memory: readThen(modelA, comesBack), there: modelB}, v1alpha1.ReasonModelMismatch, 1},
	"its telemetry names another model":              {situation{device: model(modelA, modelA), memory: readThen(modelA, func(d *session.Device) { d.Foreign(modelB) }), there: modelB}, v1alpha1.ReasonModelMismatch, 1},
	"all of it is in doubt":                          {situation{device: model(modelA, modelA), memory: readThen(modelA, (*session.Device).Doubt), there: modelB}, v1alpha1.ReasonModelMismatch, 1},
	"the device is gone":                             {situation{device: model(modelA, modelA), readErr: &iothub.Error{StatusCode: 404, Number: 404001, Code: "DeviceNotFound"}}, v1alpha1.ReasonDeviceNotFound, 1},
	"the hub does not say":                           {situation{device: model(modelA, modelA), readErr: errors.New("503")}, "nothing", 1},
	"none is declared, but DeviceModels are checked": {situation{device: model("", modelA), others: []client.Object{aModel}, there: modelB}, "", 1},
	"none is declared, and nothing is checked":       {situation{device: model("", modelA), there: modelB}, "", 0},
}

// The Ready reason of the PnPDevice says how its last pass ended. None of them lets a command
// through, or stops one.
var lastPasses = map[string]metav1.Condition{
	"no pass":           {},
	"ready":             {Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonApplied},
	"the hub was away":  {Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonHubNotReady},
	"another model":     {Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonModelMismatch},
	"another object":    {Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeviceAlreadyDeclared},
	"an absent device":  {Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeviceNotFound},
	"an invalid object": {Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalidDeclaration},
}

func TestFactsDecideWhetherACommandIsSent(t *testing.T) {
	for name, test := range situations {
		for last, condition := range lastPasses {
			t.Run(name+", last pass: "+last, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
					f.answer = okAnswer
					f.twin = func() (*twin.Twin, error) { return &twin.Twin{ModelID: cmp.Or(test.there, modelA)}, test.readErr }
					f.place(test.situation, condition)
					p := f.start(crash{never, false})
					defer p.stop()
					if test.memory != nil {
						test.memory(p.r.Hubs.Get(client.ObjectKey{Namespace: "factory", Name: "hub"}).Device("d"))
					}
					p.run(900 * time.Millisecond) // one look
					sent := test.reason == ""
					if c := f.stored(); (f.deliveries() == 1) != sent || c.Finished() != sent || f.reads != test.reads {
						t.Fatalf("%d deliveries, outcome %q (%s: %s), %d reads", f.deliveries(), c.Status.Outcome, conditions.ReadyOf(c).Reason, conditions.ReadyOf(c).Message, f.reads)
					}
					borrowed := test.reason == v1alpha1.ReasonProgressing && condition.Status == metav1.ConditionFalse
					switch got := conditions.ReadyOf(f.stored()).Reason; {
					case sent:
					case test.reason == "nothing" && got != "", borrowed && got != condition.Reason, !borrowed && test.reason != "nothing" && got != test.reason:
						t.Errorf("waits for %q, want %q", got, test.reason)
					}
				})
			})
		}
	}
}

// place puts a situation, and how the last pass over the PnPDevice ended, on record.
func (f *factory) place(s situation, last metav1.Condition) {
	f.t.Helper()
	ctx := context.Background()
	d, h := &v1alpha1.PnPDevice{}, &v1alpha1.IoTHub{}
	err := errors.Join(f.api.Get(ctx, client.ObjectKey{Namespace: "factory", Name: "d"}, d), f.api.Get(ctx, client.ObjectKey{Namespace: "factory", Name: "hub"}, h))
	d.Status.Conditions = nil
	if last.Reason != "" {
		last.Type = v1alpha1.ConditionReady
		d.Status.Conditions = []metav1.Condition{last}
	}
	if s.device != nil {
		s.device(d)
	}
	if s.hub != nil {
		s.hub(h)
	}
	err = errors.Join(err, f.api.Update(ctx, d), f.api.Update(ctx, h))
	for _, o := range s.others {
		err = errors.Join(err, f.api.Create(ctx, o.DeepCopyObject().(client.Object)))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}
