package hub

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	metadatafake "k8s.io/client-go/metadata/fake"
)

func TestSubject(t *testing.T) {
	for user, want := range map[string]string{
		"system:serviceaccount:pnp-system:pnp-operator": "--serviceaccount=pnp-system:pnp-operator",
		"jane@example.com": "--user='jane@example.com'",
		"o'brien; reboot":  `--user='o'\''brien; reboot'`,
	} {
		if got := subjectOf(user); got != want {
			t.Errorf("subjectOf(%q) = %s, want %s", user, got, want)
		}
	}
}

func TestGrantCommandNamesEverySecret(t *testing.T) {
	got := grantCommand("factory", "r", "--user='x'", right{"get,list,watch", "secrets", []string{"a", "b"}})
	if want := "--resource=secrets --resource-name=a --resource-name=b --dry-run"; !strings.Contains(got, want) {
		t.Errorf("%s does not contain %s", got, want)
	}
}

func TestOnlyPlainNamesGetIntoACommand(t *testing.T) {
	for name, plain := range map[string]bool{"factory-hub": true, "factory.hub": true, "a b": false, "$(reboot)": false, "a;b": false, "../a": false} {
		if notPlain(name) == plain {
			t.Errorf("notPlain(%q) = %t", name, !plain)
		}
	}
}

func TestSecretWatches(t *testing.T) {
	hub := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "factory", Name: name} }
	key, now := hub("secret"), time.Now()
	newWatches := func(t *testing.T, woken chan<- string) *secretWatches {
		t.Helper()
		scheme := runtime.NewScheme()
		if err := metav1.AddMetaToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		secret := &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, ResourceVersion: "7"},
		}
		w := &secretWatches{
			client: metadatafake.NewSimpleMetadataClient(scheme, secret), lifetime: t.Context(),
			wake: func(_ context.Context, hub types.NamespacedName) { woken <- hub.Name },
		}
		w.follow(hub("one"), []string{key.Name})
		return w
	}

	t.Run("a refused Secret is asked for again after as long as it has been refused", func(t *testing.T) {
		w := newWatches(t, nil)
		for _, test := range []struct{ refused, want time.Duration }{{0, time.Second}, {5 * time.Second, 5 * time.Second}, {time.Hour, 30 * time.Second}} {
			if got := w.denied(key, now.Add(test.refused)); got != test.want {
				t.Errorf("after %s: %s, want %s", test.refused, got, test.want)
			}
		}
		w.granted(key, "7")
		if got := w.denied(key, now.Add(2*time.Hour)); got != time.Second {
			t.Errorf("refused anew: %s, want a second", got)
		}
		if w.secrets[key].stop != nil {
			t.Error("the watch of a refused Secret goes on")
		}
	})
	t.Run("a Secret that changed between its read and its watch wakes every IoTHub once, one that did not wakes none", func(t *testing.T) {
		for read, want := range map[string]int{"7": 0, "6": 2, "": 2} {
			synctest.Test(t, func(t *testing.T) {
				woken := make(chan string, 10)
				w := newWatches(t, woken)
				w.follow(hub("two"), []string{key.Name})
				w.granted(key, read)
				w.granted(key, read) // the second IoTHub's: there is one watch
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(woken) != want {
					t.Errorf("read %q: woken %d times, want %d", read, len(woken), want)
				}
			})
		}
	})
	t.Run("a Secret is left with its last IoTHub", func(t *testing.T) {
		w := newWatches(t, nil)
		w.follow(hub("two"), []string{key.Name})
		w.follow(hub("one"), []string{"another"})
		if len(w.secrets[key].hubs) != 1 {
			t.Errorf("users %v, want two", w.secrets[key].hubs)
		}
		w.follow(hub("two"), nil)
		w.follow(hub("one"), nil)
		if len(w.secrets)+len(w.wanted) != 0 {
			t.Errorf("left over: %v %v", w.secrets, w.wanted)
		}
		w.granted(key, "") // a read that was under way: nothing is watched for nobody
	})
}

func TestOnlyTheVersionOfASecretIsKept(t *testing.T) {
	got, err := versionOnly(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: "s", ResourceVersion: "7", Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: `{"stringData":{"key":"content"}}`},
	}})
	if m, ok := got.(*metav1.PartialObjectMetadata); err != nil || !ok || len(m.Annotations) > 0 || m.Name != "s" || m.ResourceVersion != "7" {
		t.Errorf("%v, %v", got, err)
	}
}
