package ledgerstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
)

// vault is an API server in memory that ledgers of several processes write to.
type vault struct {
	api    client.WithWatch
	writes int
	// refuse is asked before each write, nil: none is refused.
	refuse func() error
}

func newVault(t *testing.T) *vault {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	v := &vault{}
	before := func() error {
		v.writes++
		if v.refuse == nil {
			return nil
		}
		return v.refuse()
	}
	v.api = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := before(); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if err := before(); err != nil {
				return err
			}
			return c.Update(ctx, o, opts...)
		},
	})
	return v
}

// open is the ledger of another process.
func (v *vault) open(t *testing.T) *Store {
	t.Helper()
	return New(t.Context(), v.api, v.api, "operator", logr.Discard())
}

func nth(i int) Invocation {
	return Invocation{"factory", ledger.Key{Name: fmt.Sprintf("c%d", i), Spec: "s"}}
}

func claimNow(request string) ledger.Claim {
	now := time.Now()
	return ledger.Claim{UID: "1", Request: request, At: now, Until: now.Add(time.Minute), NotAfter: now.Add(time.Hour)}
}

// Of two processes that believe the same, one gets the claim: the other one's write is refused, and
// decided anew on what it reads then.
func TestOneOfTwoProcessesGetsAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(t)
		first, second := v.open(t), v.open(t)
		for _, l := range []*Store{first, second} {
			if e, err := l.Look(t.Context(), nth(0)); e != nil || err != nil {
				t.Fatal(e, err)
			}
		}
		if err := first.Claim(t.Context(), nth(0), claimNow("r1")); err != nil {
			t.Fatal(err)
		}
		if err := second.Claim(t.Context(), nth(0), claimNow("r2")); !errors.Is(err, ledger.ErrChanged) {
			t.Errorf("the second claim: %v", err)
		}
		e, err := second.Look(t.Context(), nth(0))
		if err != nil || e == nil || e.Request != "r1" || e.By != first.process {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

func TestAConflictIsDecidedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(t)
		l := v.open(t)
		once := true
		v.refuse = func() error {
			if once {
				once = false
				return apierrors.NewConflict(schema.GroupResource{}, "c", errors.New("somebody wrote"))
			}
			return nil
		}
		if err := l.Claim(t.Context(), nth(0), claimNow("r1")); err != nil {
			t.Fatal(err)
		}
		if e, err := v.open(t).Look(t.Context(), nth(0)); err != nil || e == nil || e.Request != "r1" {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

func TestClaimsAndOutcomesGatherForOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		v := newVault(t)
		l := v.open(t)
		done := make(chan error)
		for i := range n {
			go func() {
				time.Sleep(time.Duration(i) * 5 * time.Millisecond)
				err := l.Claim(t.Context(), nth(i), claimNow("r"))
				time.Sleep(300 * time.Millisecond)
				l.ConcludeLater(nth(i), ledger.Entry{UID: "1", Request: "r", Outcome: &ledger.Outcome{Outcome: v1alpha1.CommandSucceeded, At: time.Now()}})
				done <- err
			}()
		}
		for range n {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		l.Flush(t.Context())
		if v.writes > n*7/10 {
			t.Errorf("%d writes for %d claims and outcomes", v.writes, n)
		}
		again := v.open(t)
		for i := range n {
			if e, err := again.Look(t.Context(), nth(i)); err != nil || e == nil || e.Outcome == nil {
				t.Fatalf("%d: %+v, %v", i, e, err)
			}
		}
	})
}

// A change that is kept back counts already, and is written by itself.
func TestWhatIsLateCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(t)
		l := v.open(t)
		if err := l.Claim(t.Context(), nth(0), claimNow("r1")); err != nil {
			t.Fatal(err)
		}
		l.ReleaseLater(nth(0), "r1", false)
		if e, err := l.Look(t.Context(), nth(0)); err != nil || !e.Released {
			t.Errorf("%+v, %v", e, err)
		}
		if e, err := v.open(t).Look(t.Context(), nth(0)); err != nil || e.Released {
			t.Errorf("on record: %+v, %v", e, err)
		}
		time.Sleep(lateAfter)
		synctest.Wait()
		if e, err := v.open(t).Look(t.Context(), nth(0)); err != nil || !e.Released {
			t.Errorf("on record: %+v, %v", e, err)
		}
	})
}

// An answer that got lost leaves a claim of which nobody but this process knows that nothing was
// sent with it.
func TestAClaimWhoseAnswerIsLostIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(t)
		l := v.open(t)
		if err := l.Claim(t.Context(), nth(0), claimNow("r0")); err != nil {
			t.Fatal(err)
		}
		l.api(interceptor.NewClient(v.api, interceptor.Funcs{
			Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
				l.api(v.api)
				return errors.Join(c.Update(ctx, o, opts...), errors.New("the answer is lost"))
			},
		}))
		i := nth(8)
		for shardNameOf(i) != shardNameOf(nth(0)) {
			i.Key.Name += "x"
		}
		if err := l.Claim(t.Context(), i, claimNow("r1")); err == nil {
			t.Fatal("the answer was lost")
		}
		l.ReleaseLater(i, "r1", false)
		e, err := l.Look(t.Context(), i)
		if err != nil || e == nil || e.Request != "r1" || !e.Released {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

func (l *Store) api(c client.Client) { l.Client = c }

func TestADamagedShardIsNeitherReadNorWritten(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "{", "nothing": "", "another format": `{"format":2,"entries":{}}`, "no entries": `{"format":1}`,
		"an entry without a request": `{"format":1,"entries":{"a/b":{"notAfter":1}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVault(t)
				l := v.open(t)
				m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "operator", Name: shardNameOf(nth(0)).String()}, Data: map[string]string{DataKey: text}}
				if err := v.api.Create(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				v.writes = 0
				_, looked := l.Look(t.Context(), nth(0))
				claimed := l.Claim(t.Context(), nth(0), claimNow("r1"))
				if _, held := errors.AsType[*DamagedError](looked); !held {
					t.Errorf("looked: %v", looked)
				}
				if _, held := errors.AsType[*DamagedError](claimed); !held || v.writes > 0 {
					t.Errorf("claimed: %v, %d writes", claimed, v.writes)
				}
				m.Data[DataKey] = `{"format":1,"entries":{}}`
				if err := v.api.Update(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				time.Sleep(damagedFor + time.Second)
				if _, err := l.Look(t.Context(), nth(0)); err != nil {
					t.Errorf("once it is mended: %v", err)
				}
			})
		})
	}
}

// A ConfigMap that somebody deletes is made anew from what is known.
func TestADeletedShardComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(t)
		l := v.open(t)
		if err := l.Claim(t.Context(), nth(0), claimNow("r1")); err != nil {
			t.Fatal(err)
		}
		if err := v.api.DeleteAllOf(t.Context(), &corev1.ConfigMap{}, client.InNamespace("operator")); err != nil {
			t.Fatal(err)
		}
		l.ReleaseLater(nth(0), "r1", false)
		l.Flush(t.Context())
		if e, err := v.open(t).Look(t.Context(), nth(0)); err != nil || e == nil || !e.Released {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

func TestWhatIsOverIsSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(t)
		l := v.open(t)
		if err := l.Claim(t.Context(), nth(0), claimNow("r1")); err != nil {
			t.Fatal(err)
		}
		left := func() int {
			var list corev1.ConfigMapList
			if err := errors.Join(l.sweep(t.Context()), v.api.List(t.Context(), &list)); err != nil {
				t.Fatal(err)
			}
			return len(list.Items)
		}
		time.Sleep(time.Hour)
		if n := left(); n != 1 {
			t.Errorf("%d ConfigMaps at notAfter", n)
		}
		time.Sleep(time.Hour)
		if n := left(); n != 0 {
			t.Errorf("%d ConfigMaps an hour later", n)
		}
		if err := l.Claim(t.Context(), nth(0), claimNow("r2")); err != nil {
			t.Errorf("a claim after that: %v", err)
		}
	})
}

// Records that are over leave memory, too, and those about to be written do not.
func TestWhatIsOverLeavesMemory(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*testing.T, *vault, *Store)
		stays     bool
	}{
		"nothing happens": {func(*testing.T, *vault, *Store) {}, false},
		"it was looked at": {func(t *testing.T, _ *vault, l *Store) {
			if _, err := l.Look(t.Context(), nth(0)); err != nil {
				t.Error(err)
			}
		}, false},
		"an outcome is late": {func(_ *testing.T, _ *vault, l *Store) { l.ReleaseLater(nth(0), "r1", false) }, true},
		"an outcome cannot be written": {func(t *testing.T, v *vault, l *Store) {
			v.refuse = func() error { return errors.New("the API server is away") }
			l.ConcludeLater(nth(0), ledger.Entry{Request: "r1", NotAfter: time.Now().Add(time.Hour), Outcome: &ledger.Outcome{At: time.Now()}})
			time.Sleep(2 * lateAfter)
		}, true},
		"another claim is being made": {func(t *testing.T, _ *vault, l *Store) {
			go func() { _ = l.Claim(t.Context(), nth(0), claimNow("r2")) }()
			synctest.Wait()
		}, true},
		"another claim was made": {func(t *testing.T, _ *vault, l *Store) {
			if err := l.Claim(t.Context(), nth(0), claimNow("r2")); err != nil {
				t.Error(err)
			}
		}, true},
		"somebody is about to use it": {func(_ *testing.T, _ *vault, l *Store) { l.enter(nth(0)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVault(t)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				l := New(ctx, v.api, v.api, "operator", logr.Discard())
				if err := l.Claim(ctx, nth(0), claimNow("r1")); err != nil {
					t.Fatal(err)
				}
				if err := l.sweep(ctx); err != nil || len(l.shards) != 1 {
					t.Fatalf("%d shards, %v", len(l.shards), err)
				}
				time.Sleep(2*time.Hour + time.Minute)
				test.meanwhile(t, v, l)
				if err := l.sweep(ctx); err != nil {
					t.Fatal(err)
				}
				if stays := len(l.shards) == 1; stays != test.stays {
					t.Errorf("stays: %v", stays)
				}
				v.refuse = nil
				time.Sleep(time.Minute)
				if err := l.Claim(ctx, nth(1), claimNow("r3")); err != nil {
					t.Errorf("a claim after that: %v", err)
				}
			})
		})
	}
}

// A namespace has ConfigMaps of its own: none can be full of, or named like, another one's.
func TestNamespacesHaveShardsOfTheirOwn(t *testing.T) {
	seen := map[string]string{}
	for _, namespace := range []string{"a", "a-0", "a-0-1", "0", "commands"} {
		for i := range 50 {
			name := shardNameOf(Invocation{namespace, ledger.Key{Name: fmt.Sprint(i)}}).String()
			if of, ok := seen[name]; ok && of != namespace {
				t.Errorf("%s is of %s and of %s", name, of, namespace)
			}
			seen[name] = namespace
		}
	}
	if len(seen) != 5*ledgerShards {
		t.Errorf("%d shards of 5 namespaces", len(seen))
	}
}

func TestARecordOfCommandsThatWasPutBackIsMended(t *testing.T) {
	for name, notice := range map[string]func(*Store, Invocation){
		"once objects were found to be put back": func(l *Store, _ Invocation) { l.Verify(); l.Verify() },
		"at the next write": func(l *Store, other Invocation) {
			l.ConcludeLater(other, ledger.Entry{Request: "x", Outcome: &ledger.Outcome{Outcome: v1alpha1.CommandFailed}, NotAfter: time.Now().Add(time.Hour)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVault(t)
				l := v.open(t)
				ran := ledger.Entry{Request: "r1", Outcome: &ledger.Outcome{Outcome: v1alpha1.CommandSucceeded}}
				if err := errors.Join(l.Claim(t.Context(), nth(0), claimNow("r1")), l.Conclude(t.Context(), nth(0), ran)); err != nil {
					t.Fatal(err)
				}
				var m corev1.ConfigMap
				if err := v.api.Get(t.Context(), types.NamespacedName{Namespace: "operator", Name: shardNameOf(nth(0)).String()}, &m); err != nil {
					t.Fatal(err)
				}
				m.Data[DataKey] = `{"format":1,"entries":{}}`
				if err := v.api.Update(t.Context(), &m); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				notice(l, neighbour(l, nth(0)))
				if e, err := l.Look(t.Context(), nth(0)); err != nil || e == nil || e.Outcome == nil {
					t.Errorf("this process knows %+v, %v", e, err)
				}
				time.Sleep(time.Minute)
				if e, err := v.open(t).Look(t.Context(), nth(0)); err != nil || e == nil || e.Outcome == nil {
					t.Errorf("the next process knows %+v, %v", e, err)
				}
			})
		})
	}
}

// neighbour is an invocation whose record is in the same ConfigMap.
func neighbour(l *Store, of Invocation) Invocation {
	for i := 100; ; i++ {
		if shardNameOf(nth(i)) == shardNameOf(of) {
			return nth(i)
		}
	}
}
