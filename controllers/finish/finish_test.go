package finish

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

var (
	refusedObjects = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "objects"}
	errRefused     = apierrors.NewForbidden(refusedObjects, "one", errors.New("a policy forbids it"))
	errConflict    = apierrors.NewConflict(refusedObjects, "one", errors.New("somebody else was first"))
	errGone        = apierrors.NewNotFound(refusedObjects, "one")
	errEtcd        = errors.New("etcd has no leader")
)

// endings are objects of all kinds: their passes end alike.
func endings() map[string]Object {
	meta := metav1.ObjectMeta{Namespace: "factory", Name: "one", Generation: 2}
	return map[string]Object{
		"PnPDevice":     &v1alpha1.PnPDevice{ObjectMeta: meta},
		"IoTHub":        &v1alpha1.IoTHub{ObjectMeta: meta},
		"DeviceCommand": &v1alpha1.DeviceCommand{ObjectMeta: meta},
		"DeviceModel":   &v1alpha1.DeviceModel{ObjectMeta: meta},
	}
}

func TestAPassEnds(t *testing.T) {
	const next, soon = time.Minute, 100 * time.Millisecond
	stalls := func(o Object) {
		conditions.SetVerdict(o, conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonHubRefused, Message: "why"})
	}
	for name, c := range map[string]struct {
		says    func(o Object)
		answers []error // of the API server, to one patch each
		edit    func(e *Ending)
		want    ctrl.Result
		err     error
		events  int
		stored  string // what stored was told
		reason  string // of Ready in the end
	}{
		"with nothing new: nothing is written": {says: func(Object) {}, want: ctrl.Result{RequeueAfter: next}, stored: "unchanged"},
		"with nothing to say":                  {edit: func(e *Ending) { e.After = nil }, want: ctrl.Result{RequeueAfter: next}},
		"with something new": {
			says: stalls, answers: []error{nil}, want: ctrl.Result{RequeueAfter: next}, events: 1, stored: "written", reason: v1alpha1.ReasonHubRefused,
		},
		"with a failure, which backs off once status is written": {
			says: stalls, answers: []error{nil}, edit: func(e *Ending) { e.Failure = errEtcd }, err: errEtcd, events: 1, stored: "written", reason: v1alpha1.ReasonHubRefused,
		},
		"and somebody else wrote the object": {says: stalls, answers: []error{errConflict}, err: errConflict},
		"and somebody else wrote the object, which is looked at again soon": {
			says: stalls, answers: []error{errConflict}, edit: func(e *Ending) { e.Behind = soon }, want: ctrl.Result{RequeueAfter: soon},
		},
		"and the object is gone":   {says: stalls, answers: []error{errGone}, want: ctrl.Result{RequeueAfter: next}},
		"and the API server fails": {says: stalls, answers: []error{errEtcd}, err: errEtcd},
		"with a status that is refused": {
			says: stalls, answers: []error{errRefused, nil}, err: errRefused, events: 1, reason: v1alpha1.ReasonStatusRefused,
		},
		"with a status that is refused, and so is less":           {says: stalls, answers: []error{errRefused, errRefused}, err: errRefused, events: 1},
		"with a status that is refused, and the API server fails": {says: stalls, answers: []error{errRefused, errEtcd}, err: errEtcd},
		"with a status that was refused lately": {
			says: stalls, edit: func(e *Ending) { e.Withheld = 7 * time.Second }, want: ctrl.Result{RequeueAfter: 7 * time.Second},
		},
		"with a status that was refused lately, and something that is due before": {
			says: stalls, edit: func(e *Ending) { e.Withheld, e.Next, e.IsUrgent = 7*time.Second, time.Second, true }, want: ctrl.Result{RequeueAfter: time.Second},
		},
	} {
		for kind, o := range endings() {
			t.Run(kind+" "+name, func(t *testing.T) {
				patches := 0
				c2 := clientAnswering(t, o, &patches, c.answers)
				after := o.DeepCopyObject().(Object)
				if c.says != nil {
					c.says(after)
				}
				stored := ""
				e := &Ending{Before: o, After: after, Next: next, Stored: func(isNews bool) { stored = map[bool]string{true: "written", false: "unchanged"}[isNews] }}
				if c.edit != nil {
					c.edit(e)
				}
				recorder := events.NewFakeRecorder(10)
				got, err := Pass(t.Context(), c2, recorder, e)
				if got.RequeueAfter = got.RequeueAfter.Round(soon); got != c.want || !errors.Is(err, c.err) {
					t.Errorf("result %v, %v, want %v, %v", got, err, c.want, c.err)
				}
				if patches != len(c.answers) || len(recorder.Events) != c.events || stored != c.stored {
					t.Errorf("%d patches, %d Events, %q, want %d, %d, %q", patches, len(recorder.Events), stored, len(c.answers), c.events, c.stored)
				}
				is := o.DeepCopyObject().(Object)
				if err := c2.Get(t.Context(), client.ObjectKeyFromObject(o), is); err != nil {
					t.Fatal(err)
				}
				if reason := conditions.ReadyOf(is).Reason; reason != c.reason {
					t.Errorf("Ready has the reason %q, want %q", reason, c.reason)
				}
			})
		}
	}
}

// clientAnswering has an API server answer patches of status by errors, one after the other, and
// holds an object, which it makes as old as it is there.
func clientAnswering(t *testing.T, o Object, patches *int, answers []error) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	answer := func(ctx context.Context, c client.Client, resource string, o client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
		*patches++
		if *patches > len(answers) || answers[*patches-1] != nil {
			return append(answers, errors.New("one patch too many"))[min(*patches-1, len(answers))]
		}
		return c.SubResource(resource).Patch(ctx, o, patch, options...)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(o).WithStatusSubresource(o).WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: answer}).Build()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	return c
}

// writesStatus are the files that write a status beside the end of a pass, and what they write.
var writesStatus = map[string]string{
	"finish.go": "the end of a pass",
	"brake.go":  "removals are counted before they are made",
	"flight.go": "that a command runs, while it does",
}

// All passes end in Pass: nothing else writes a status for good.
func TestStatusIsWrittenAtTheEndOfAPass(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../*.go", "../*/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		n := strings.Count(string(raw), "Status().Patch(") + strings.Count(string(raw), "Status().Update(")
		if _, may := writesStatus[filepath.Base(file)]; n > 1 || (n == 1) != may {
			t.Errorf("%s writes status %d times: end the pass with finish.Pass", file, n)
		}
	}
}
