package hub

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// counted is an API server that counts the requests that it is sent, by verb and kind.
func counted(t *testing.T, requests map[string]int, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	count := func(verb string, o any) { requests[fmt.Sprintf("%s %T", verb, o)]++ }
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			count("get", o)
			return c.Get(ctx, key, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			count("list", list)
			return c.List(ctx, list, options...)
		},
	}).Build()
}

func hubNamed(name, uid string) *v1alpha1.IoTHub {
	return &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: name, UID: types.UID(uid)}}
}

func checkpointOf(hub *v1alpha1.IoTHub) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "pnp-system", Name: checkpointName(hub.UID), Labels: map[string]string{checkpointLabel: "true"},
			Annotations: map[string]string{checkpointAnnotation: client.ObjectKeyFromObject(hub).String()},
		},
		Data: map[string]string{checkpointKey: "{}"},
	}
}

// TestASweepAsksForMissingIoTHubsOnly has a hundred IoTHubs of which the cache knows all but one.
func TestASweepAsksForMissingIoTHubsOnly(t *testing.T) {
	requests := map[string]int{}
	var inCache, atServer []client.Object
	for i := range 100 {
		hub := hubNamed(fmt.Sprint("hub-", i), fmt.Sprint(i))
		inCache, atServer = append(inCache, hub), append(atServer, hub.DeepCopy(), checkpointOf(hub))
	}
	unseen, gone, replaced := hubNamed("unseen", "unseen"), hubNamed("gone", "gone"), hubNamed("hub-0", "earlier")
	atServer = append(atServer, unseen, checkpointOf(unseen), checkpointOf(gone), checkpointOf(replaced))
	server := counted(t, requests, atServer...)
	c := &checkpoints{Client: splitClient{Client: server, cache: counted(t, map[string]int{}, inCache...)}, reader: server, namespace: "pnp-system"}
	if err := c.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"list *v1.PartialObjectMetadataList": 1, "get *v1alpha1.IoTHub": 3}
	if diff := cmp.Diff(want, requests); diff != "" {
		t.Errorf("requests to the API server (-want +got):\n%s", diff)
	}
	for hub, want := range map[*v1alpha1.IoTHub]bool{hubNamed("hub-0", "0"): true, unseen: true, gone: false, replaced: false} {
		err := server.Get(t.Context(), client.ObjectKeyFromObject(checkpointOf(hub)), &corev1.ConfigMap{})
		if got := err == nil; got != want {
			t.Errorf("the checkpoint of %s %s is there: %v, want %v", hub.Name, hub.UID, got, want)
		}
	}
}

// splitClient looks objects up in a cache.
type splitClient struct {
	client.Client

	cache client.Reader
}

func (c splitClient) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	return c.cache.Get(ctx, key, o, options...)
}
