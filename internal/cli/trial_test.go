package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/leadership"
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

func TestATrialsOperatorGivesItsLeaseUp(t *testing.T) {
	lease := func(holder string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "pnp-system", Name: leadership.LeaseName}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder}}
	}
	for name, test := range map[string]struct {
		objects  []client.Object
		released bool // by the operator, at the third look
	}{
		"it is given up":            {[]client.Object{lease("pod")}, true},
		"its holder was killed":     {[]client.Object{lease("pod")}, false},
		"it is nobody's":            {[]client.Object{lease("")}, false},
		"there is none":             {nil, false},
		"there is no Deployment of": {[]client.Object{lease("")}, false},
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
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
					if looks++; looks == 3 && test.released {
						is := &coordinationv1.Lease{}
						if err := c.Get(ctx, key, is); err != nil {
							return err
						}
						is.Spec.HolderIdentity = nil
						if err := c.Update(ctx, is); err != nil {
							return err
						}
					}
					return c.Get(ctx, key, o, options...)
				},
			}, test.objects...)
			if err := tr.endOperator(t.Context(), 50*time.Millisecond); err != nil {
				t.Error(err)
			}
			if want := `scale of pnp-system/pnp-operator {"spec":{"replicas":0}}`; scaled != want {
				t.Errorf("scaled %q, want %q", scaled, want)
			}
			if test.released && looks < 3 {
				t.Errorf("waited for %d looks", looks)
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
