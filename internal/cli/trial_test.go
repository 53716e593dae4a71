package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func newTrial(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) trial {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	return trial{Client: c, devices: "pnp-simulator", namespace: "pnp-system", pause: time.Millisecond}
}

func trialDevice(namespace, name string, finalizers ...string) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Finalizers: finalizers}}
}

func TestATrialsDevicesAreDeletedAndClearedOnes(t *testing.T) {
	elsewhere := trialDevice("factory", "line-0")
	clearing := trialDevice("pnp-simulator", "clear", v1alpha1.FinalizerClear)
	looks := 0
	tr := newTrial(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		if looks++; looks == 3 { // the operator has cleared it
			is := &v1alpha1.PnPDevice{}
			if err := c.Get(ctx, client.ObjectKeyFromObject(clearing), is); err != nil {
				return err
			}
			is.Finalizers = nil
			if err := c.Update(ctx, is); err != nil {
				return err
			}
		}
		return c.List(ctx, list, options...)
	}}, clearing, trialDevice("pnp-simulator", "retain"), elsewhere)
	if err := tr.deleteDevices(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := tr.Get(t.Context(), client.ObjectKeyFromObject(elsewhere), elsewhere); err != nil {
		t.Error("a device of another namespace: ", err)
	}
	if err := tr.Get(t.Context(), client.ObjectKeyFromObject(clearing), clearing); !apierrors.IsNotFound(err) {
		t.Error("the device to clear: ", err)
	}
}

func TestATrialThatIsNotClearedSaysSo(t *testing.T) {
	tr := newTrial(t, interceptor.Funcs{}, trialDevice("pnp-simulator", "clear", v1alpha1.FinalizerClear))
	err := tr.deleteDevices(t.Context(), 20*time.Millisecond)
	for _, words := range []string{"1 PnPDevices", `"pnp-simulator"`, "such as clear", "--no-hooks"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v does not say %q", err, words)
		}
	}
}

// A replica that still runs may take the lease that the leader gives up, and it could not give it up
// any more once its rights are gone.
func TestATrialEndsOnceNoPodOfTheOperatorRuns(t *testing.T) {
	pod := func(name, app string, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "pnp-system", Name: name, Labels: map[string]string{"app.kubernetes.io/name": app}}, Status: corev1.PodStatus{Phase: phase},
		}
	}
	leader, second := pod("leader", "pnp-operator", corev1.PodRunning), pod("second", "pnp-operator", corev1.PodRunning)
	for name, test := range map[string]struct {
		pods  []client.Object
		gone  map[int]*corev1.Pod // by the look before which it goes
		looks int                 // at least
	}{
		"all go":                    {[]client.Object{leader, second}, map[int]*corev1.Pod{2: leader, 4: second}, 4},
		"one does not end":          {[]client.Object{leader, second}, map[int]*corev1.Pod{2: leader}, 5},
		"there is none":             {nil, nil, 1},
		"those that ended":          {[]client.Object{pod("a", "pnp-operator", corev1.PodFailed), pod("b", "pnp-operator", corev1.PodSucceeded)}, nil, 1},
		"pods of others":            {[]client.Object{pod("end", "pnp-operator-end-trial", corev1.PodRunning)}, nil, 1},
		"there is no Deployment of": {nil, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			scaled, looks := "", 0
			tr := newTrial(t, interceptor.Funcs{
				SubResourcePatch: func(_ context.Context, _ client.Client, which string, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
					raw, err := p.Data(o)
					scaled = which + " of " + o.GetNamespace() + "/" + o.GetName() + " " + string(raw)
					if strings.HasPrefix(name, "there is no Deployment") {
						err = apierrors.NewNotFound(schema.GroupResource{Group: appsv1.GroupName, Resource: "deployments"}, o.GetName())
					}
					return err
				},
				List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
					looks++
					if gone := test.gone[looks]; gone != nil {
						if err := c.Delete(ctx, gone); err != nil {
							return err
						}
					}
					return c.List(ctx, list, options...)
				},
			}, test.pods...)
			if err := tr.endOperator(t.Context(), 200*time.Millisecond); err != nil {
				t.Error(err)
			}
			if want := `scale of pnp-system/pnp-operator {"spec":{"replicas":0}}`; scaled != want {
				t.Errorf("scaled %q, want %q", scaled, want)
			}
			if looks < test.looks || test.looks < 5 && looks > test.looks {
				t.Errorf("ended after %d looks, expected %d", looks, test.looks)
			}
		})
	}
}

func TestEndTrialWantsANamespace(t *testing.T) {
	for _, args := range [][]string{nil, {"--devices-namespace="}, {"--devices-namespace=x", "more"}, {"--unknown"}} {
		var said strings.Builder
		if status := EndTrial(args, &said); status != 2 || !strings.Contains(said.String(), "Usage: pnp-operator end-trial") {
			t.Errorf("%q: %d %s", args, status, said.String())
		}
	}
}
