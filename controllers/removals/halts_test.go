package removals

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

// setNamed is a set of removals as status has it.
func setNamed(at time.Time, all ...Request) *v1alpha1.RemovalSet {
	return setOf(slices.Values(all), metav1.NewTime(at))
}

func TestWhatAConfirmationIsOf(t *testing.T) {
	const minute = time.Minute
	shown := func(object types.UID, leaves int) Request {
		one := removal(object, leaves)
		one.shown = true
		return one
	}
	edited := func(object types.UID, leaves int) Request {
		one := removal(object, leaves)
		one.Member = MemberOf(object, 3)
		return one
	}
	before := aNoon.Add(-minute)
	recent := &v1alpha1.RecentRemovals{Count: 9, Until: metav1.NewTime(aNoon.Add(minute))}
	for name, c := range map[string]struct {
		was               v1alpha1.HubRemovals
		waiting           []Request
		halting, confirms bool
		want              string
		condition         string
		names             []Request // in force afterwards: halted, else confirmed
	}{
		"a halt names what waits": {waiting: []Request{removal("a", 25), shown("b", 1)}, halting: true,
			want: "halted", condition: "True/MassRemoval 26 properties of 2 PnPDevices", names: []Request{removal("a", 25), removal("b", 1)}},
		"and what comes": {was: v1alpha1.HubRemovals{Halted: setNamed(before, removal("a", 25))}, waiting: []Request{removal("a", 25), removal("b", 1)}, halting: true,
			want: "halted before", condition: "True/MassRemoval 26 properties of 2 PnPDevices", names: []Request{removal("b", 1)}},
		"and ends with nothing left": {was: v1alpha1.HubRemovals{Halted: setNamed(before, removal("a", 25)), Recent: recent}, halting: true, want: "recent"},
		"a person confirms what was named": {was: v1alpha1.HubRemovals{Halted: setNamed(before, removal("a", 25)), Recent: recent},
			waiting: []Request{removal("a", 25)}, halting: true, confirms: true,
			want: "confirmed", condition: "False/Confirmed 25 properties of 1 PnPDevice", names: []Request{removal("a", 25)}},
		"and what objects say of themselves": {waiting: []Request{shown("a", 25)}, halting: true, confirms: true,
			want: "confirmed", condition: "False/Confirmed 25 properties of 1 PnPDevice", names: []Request{removal("a", 25)}},
		"not what came after": {was: v1alpha1.HubRemovals{Halted: setNamed(before, removal("a", 25))}, waiting: []Request{removal("a", 25), removal("b", 30)},
			halting: true, confirms: true, want: "confirmed", condition: "False/Confirmed 25 properties of 1 PnPDevice", names: []Request{removal("a", 25)}},
		"not another edit of it": {was: v1alpha1.HubRemovals{Halted: setNamed(before, removal("a", 25))}, waiting: []Request{edited("a", 30)},
			halting: true, confirms: true, want: ""},
		"it goes on while any of it waits": {was: v1alpha1.HubRemovals{Confirmed: setNamed(before, removal("a", 25), removal("b", 1)), Recent: recent},
			waiting: []Request{removal("b", 1)}, want: "confirmed before, recent", condition: "False/Confirmed 26 properties of 2 PnPDevices", names: []Request{removal("a", 25)}},
		"and ends when none does": {was: v1alpha1.HubRemovals{Confirmed: setNamed(before, removal("a", 25))}, waiting: []Request{removal("c", 30)}, want: ""},
		"others are halted beside it": {was: v1alpha1.HubRemovals{Confirmed: setNamed(before, removal("a", 25))}, waiting: []Request{removal("a", 25), removal("c", 30)},
			halting: true, want: "halted, confirmed before", condition: "True/MassRemoval 30 properties of 1 PnPDevice", names: []Request{removal("c", 30)}},
		"and confirmed as well": {was: v1alpha1.HubRemovals{Confirmed: setNamed(before, removal("a", 25)), Halted: setNamed(before, removal("c", 30))},
			waiting: []Request{removal("a", 25), removal("c", 30)}, halting: true, confirms: true,
			want: "confirmed", condition: "False/Confirmed 55 properties of 2 PnPDevices", names: []Request{removal("a", 25), removal("c", 30)}},
	} {
		t.Run(name, func(t *testing.T) {
			next := review(c.was, slices.Values(c.waiting), c.halting, c.confirms, aNoon)
			var got []string
			told := func(what string, set *v1alpha1.RemovalSet) {
				switch {
				case set == nil:
				case set.At.Time.Equal(before):
					got = append(got, what+" before")
				default:
					got = append(got, what)
				}
			}
			told("halted", next.Halted)
			told("confirmed", next.Confirmed)
			if next.Recent != nil {
				got = append(got, "recent")
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("status has %q, expected %q", strings.Join(got, ", "), c.want)
			}
			hub := &v1alpha1.IoTHub{}
			describeRemovals(hub, next)
			is := ""
			for _, one := range hub.Status.Conditions {
				is = string(one.Status) + "/" + one.Reason + " " + one.Message
			}
			reason, count, _ := strings.Cut(c.condition, " ")
			if !strings.HasPrefix(is, reason) || !strings.Contains(is, count) || (is == "") != (c.condition == "") {
				t.Errorf("the condition is %q, expected %q", is, c.condition)
			}
			in := haltedAt(hub)
			if next.Halted == nil {
				in = confirmedAt(hub)
			}
			for _, one := range c.names {
				if !in.has(one.Member) {
					t.Errorf("%s is not named", one.Object)
				}
			}
		})
	}
}

func TestAConfirmationLetsNothingElseGo(t *testing.T) {
	c := newBraked(t, map[string]int{"others": 30})
	p := c.start(t)
	p.expect(true, "before", 20, aNoon)
	p.expect(false, "a", 25, aNoon)
	p.catchUp()
	p.hub.Status.Removals = &v1alpha1.HubRemovals{Confirmed: setNamed(aNoon, removal("a", 25))}
	if err := c.Client.Status().Update(t.Context(), p.hub); err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]*life{"the same process": p, "the next one": c.start(t)} {
		writes := c.writes
		one.expect(true, "a", 25, aNoon)
		if c.writes != writes {
			t.Errorf("%s counts what was confirmed", name)
		}
		one.expect(false, "b", 25, aNoon)
	}
	p.catchUp()
	p.expect(true, "c", 5, aNoon.Add(time.Minute)) // what was removed before is known to a person
}

// pulling is a cluster in which the brake is pulled while the objects of the IoTHub are counted.
type pulling struct {
	client.Client

	pull func()
}

func (c *pulling) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := c.Client.List(ctx, list, opts...)
	if pull := c.pull; pull != nil {
		c.pull = nil
		pull()
	}
	return err
}

func TestABrakeThatIsPulledDuringALookAtItStaysSo(t *testing.T) {
	c := newBraked(t, map[string]int{"others": 30, "a": 25, "b": 25})
	for _, name := range []string{"a", "b"} {
		var device v1alpha1.PnPDevice
		if err := c.Get(t.Context(), types.NamespacedName{Namespace: "factory", Name: name}, &device); err != nil {
			t.Fatal(err)
		}
		device.Generation, device.Spec.Properties = 2, &apiextensionsv1.JSON{Raw: []byte("{}")}
		if err := c.Update(t.Context(), &device); err != nil {
			t.Fatal(err)
		}
	}
	p := c.start(t)
	describeRemovals(p.hub, v1alpha1.HubRemovals{Confirmed: setNamed(aNoon, removal("a", 25))})
	if err := c.Client.Status().Update(t.Context(), p.hub); err != nil {
		t.Fatal(err)
	}
	p.catchUp()
	cache := &pulling{Client: c, pull: func() { p.expect(false, "b", 25, aNoon) }}
	for _, want := range []string{"False/" + v1alpha1.ReasonConfirmed, "True/" + v1alpha1.ReasonMassRemoval} {
		p.catchUp()
		if _, err := p.Describe(t.Context(), cache, p.hub); err != nil {
			t.Fatal(err)
		}
		is := apimeta.FindStatusCondition(p.hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted)
		if got := string(is.Status) + "/" + is.Reason; got != want {
			t.Fatalf("the IoTHub says %s, expected %s", got, want)
		}
	}
}

// Declarations that are put back before the halt is on record count like those after it.
func TestDeclarationsThatArePutBackBeforeAHaltIsOnRecordEndIt(t *testing.T) {
	for name, test := range map[string]struct {
		declared string
		halts    bool
	}{
		"most of them":    {`{"p0":1,"p1":1,"p2":1,"p3":1,"p4":1,"p5":1,"p6":1}`, false},
		"too few of them": {`{"p0":1}`, true},
		"none of them":    {`{}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newBraked(t, map[string]int{"others": 30, "a": 25})
			edit := func(declared string, generation int64) {
				var device v1alpha1.PnPDevice
				if err := c.Get(t.Context(), types.NamespacedName{Namespace: "factory", Name: "a"}, &device); err != nil {
					t.Fatal(err)
				}
				device.Generation, device.Spec.Properties = generation, &apiextensionsv1.JSON{Raw: []byte(declared)}
				if err := c.Update(t.Context(), &device); err != nil {
					t.Fatal(err)
				}
			}
			p := c.start(t)
			edit(`{}`, 2)
			p.expect(false, "a", 25, aNoon)
			if test.declared != `{}` {
				edit(test.declared, 3)
			}
			hasEnded, err := p.Describe(t.Context(), c, p.hub)
			if err != nil {
				t.Fatal(err)
			}
			_, pulled := p.Halted(client.ObjectKeyFromObject(p.hub))
			if conditions.IsTrue(p.hub, v1alpha1.ConditionRemovalsHalted) != test.halts || pulled != test.halts || hasEnded == test.halts {
				t.Errorf("status has %+v, pulled %v, has ended %v", p.hub.Status.Conditions, pulled, hasEnded)
			}
		})
	}
}
