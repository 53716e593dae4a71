package chart_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("waited a minute for ", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// refuses reports whether the API server refuses something, by a policy whose message has these words.
func refuses(err error, words string) bool {
	return apierrors.IsInvalid(err) && strings.Contains(err.Error(), words)
}

// TestPolicies has a real API server judge. It takes a moment to know of a policy.
func TestPolicies(t *testing.T) {
	c := newCluster(t)
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "factory"}})
	c.helm("install", "pnp", chart, "--create-namespace")
	cleared := newDevice("cleared", v1alpha1.DeletionClear)
	c.create(cleared)
	c.helm("upgrade", "pnp", chart, "--set=protection.enabled=true,deletionPolicy.allowClear=false,watchNamespaces={factory}")

	t.Run("an IoTHub that is used", func(t *testing.T) {
		hub := c.usedHub(2)
		eventually(t, "the policy", func() bool {
			return refuses(c.Delete(t.Context(), hub, client.DryRunAll), "IoTHub hub has 2 PnPDevices: delete them first")
		})
		hub.Status.Devices.Total = 0
		c.done(c.Status().Update(t.Context(), hub))
		c.done(c.Delete(t.Context(), hub))
	})
	t.Run("confirmed", func(t *testing.T) {
		hub := c.usedHub(1)
		if err := c.Delete(t.Context(), hub); !refuses(err, "PnPDevices") {
			t.Fatal(err)
		}
		hub.Annotations = map[string]string{"iot.pnp-operator.io/confirm-deletion": "me"}
		c.done(c.Update(t.Context(), hub))
		c.done(c.Delete(t.Context(), hub))
	})
	t.Run("with its namespace", func(t *testing.T) {
		hub := c.usedHub(1)
		as := rest.CopyConfig(c.config)
		as.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:namespace-controller", Groups: []string{"system:masters"}}
		controller, err := client.New(as, client.Options{Scheme: c.Scheme()})
		if err != nil {
			t.Fatal(err)
		}
		c.done(controller.Delete(t.Context(), hub))
	})
	t.Run("deletionPolicy Clear", func(t *testing.T) {
		eventually(t, "the policy", func() bool {
			return refuses(c.Create(t.Context(), newDevice("d", v1alpha1.DeletionClear), client.DryRunAll), "spec.deletionPolicy is Clear")
		})
		retained := newDevice("d", v1alpha1.DeletionRetain)
		c.create(retained)
		retained.Spec.DeletionPolicy = v1alpha1.DeletionClear
		if err := c.Update(t.Context(), retained); !refuses(err, "spec.deletionPolicy is Clear") {
			t.Error("changed to Clear: ", err)
		}
		cleared.Finalizers = []string{"example.com/finalizer"}
		c.done(c.Update(t.Context(), cleared)) // it was there before
	})
	t.Run("another namespace", func(t *testing.T) {
		elsewhere := newDevice("d", v1alpha1.DeletionClear)
		elsewhere.Namespace = "default"
		c.create(elsewhere)
	})
}

func newDevice(name string, policy v1alpha1.DeletionPolicy) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: name},
		Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}, DeletionPolicy: policy},
	}
}

// usedHub is an IoTHub whose status counts devices, as the operator writes it.
func (c *cluster) usedHub(devices int32) *v1alpha1.IoTHub {
	c.t.Helper()
	hub := newHub()
	c.create(hub)
	hub.Status.Devices = &v1alpha1.IoTHubDevices{Total: devices}
	c.done(c.Status().Update(c.t.Context(), hub))
	return hub
}

// done expects that something was done.
func (c *cluster) done(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}
