package controllers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// The matrix has every kind of property, edit and other writer meet every kind of disturbance:
// each cell is a device of its own, and the cells that share a disturbance share a hub. A judge,
// who knows who wrote what, looks for two things only: nothing of another writer is removed, and
// nothing of the operator's is left behind.

// shape is what kind of property a cell is about.
type shape string

const (
	plainLeaf     shape = "plain"
	componentLeaf shape = "component"
	objectLeaf    shape = "object"
)

// course is what becomes of the declaration after it was edited.
type course string

const (
	takenBack    course = "taken back"
	replaced     course = "replaced by another leaf"
	changedTwice course = "changed twice"
	deleted      course = "deleted with Clear"
	observedBack course = "Observe and back"
	movedBack    course = "hubRef away and back"
)

// rival is what another writer does with the same property.
type rival string

const (
	nobody        rival = "nobody else"
	differsBefore rival = "another value before"
	equalBefore   rival = "an equal value before"
	differsMidway rival = "another value meanwhile"
	equalMidway   rival = "an equal value meanwhile"
	equalByHand   rival = "the same value by hand afterwards"
	differsByHand rival = "another value by hand afterwards"
)

var (
	shapes  = []shape{plainLeaf, componentLeaf, objectLeaf}
	courses = []course{takenBack, replaced, changedTwice, deleted, observedBack, movedBack}
	rivals  = []rival{nobody, differsBefore, equalBefore, differsMidway, equalMidway, equalByHand, differsByHand}
)

// cell is one device and its object.
type cell struct {
	shape   shape
	isOwned bool // before the disturbance; else it is new
	course  course
	rival   rival
	api     v1alpha1.TwinAPI

	id       string
	site     *site
	judge    *judge
	spec     v1alpha1.PnPDeviceSpec
	declared map[twin.Leaf]any
	gone     bool // the object was deleted
}

func (c *cell) String() string {
	is := "new"
	if c.isOwned {
		is = "owned"
	}
	return fmt.Sprintf("%s %s property, %s, %s, through %s", is, c.shape, c.course, c.rival, c.api)
}

// whole is whether the whole matrix was asked for, with PNP_MATRIX=all: every shape through both
// dialects. Otherwise these take turns, from another beginning with each disturbance and each
// seed.
var whole = os.Getenv("PNP_MATRIX") == "all"

// allCells is how many a disturbance has that rules none out.
func allCells() int {
	n := 2 * len(courses) * len(rivals)
	if whole {
		n *= len(shapes) * len(dialects)
	}
	return n
}

// cells are those that a disturbance does not rule out.
func cells(d disturbance) []*cell {
	turn := int(GinkgoRandomSeed()%100) + slices.IndexFunc(disturbances, func(o disturbance) bool { return o.name == d.name })
	var all []*cell
	for _, isOwned := range []bool{false, true} {
		for _, course := range courses {
			for _, rival := range rivals {
				for n := range len(shapes) * len(dialects) {
					c := &cell{isOwned: isOwned, course: course, rival: rival, shape: shapes[n%len(shapes)], api: dialects[n/len(shapes)]}
					if (whole || n == turn%(len(shapes)*len(dialects))) && (d.rulesOut == nil || d.rulesOut(c) == "") {
						c.id = fmt.Sprintf("c-%03d", len(all))
						all = append(all, c)
					}
				}
				turn++
			}
		}
	}
	return all
}

// base is always declared, and never changes.
var base = twin.Leaf{Name: "base"}

// leaf is the property that the cell is about.
func (c *cell) leaf() twin.Leaf {
	switch c.shape {
	case componentLeaf:
		return twin.Leaf{Component: "part", Name: "x"}
	case objectLeaf:
		return twin.Leaf{Name: "o"}
	}
	return twin.Leaf{Name: "x"}
}

// other is the property that may take its place.
func (c *cell) other() twin.Leaf { return twin.Leaf{Component: c.leaf().Component, Name: "other"} }

// value is the nth value that is declared for the property of the cell.
func (c *cell) value(n int) any {
	if c.shape == objectLeaf {
		return decoded(fmt.Sprintf(`{"a": %d, "deep": {"b": %d}}`, n, n))
	}
	return json.Number(fmt.Sprint(n))
}

// theirs is another writer's value.
func (c *cell) theirs() any {
	if c.shape == objectLeaf {
		return decoded(`{"a": 7, "theirs": {"b": 7}}`)
	}
	return json.Number("7")
}

// with is the declaration with a value for the property of the cell, nil for none.
func (c *cell) with(value any) map[twin.Leaf]any {
	d := map[twin.Leaf]any{base: json.Number("1")}
	if value != nil {
		d[c.leaf()] = value
	}
	return d
}

// object is the PnPDevice of the cell as it is declared now.
func (c *cell) object() *v1alpha1.PnPDevice {
	properties, components := map[string]any{}, map[string]map[string]any{}
	for leaf, value := range c.declared {
		if leaf.Component == "" {
			properties[leaf.Name] = value
			continue
		}
		if components[leaf.Component] == nil {
			components[leaf.Component] = map[string]any{}
		}
		components[leaf.Component][leaf.Name] = value
	}
	d := c.site.device(c.id)
	d.Labels = map[string]string{"cell": "yes"}
	d.Spec = *c.spec.DeepCopy()
	d.Spec.Properties = &apiextensionsv1.JSON{Raw: twin.EncodeValue(anyOf(properties))}
	for name, properties := range components {
		d.Spec.Components = append(d.Spec.Components, v1alpha1.ComponentDeclaration{
			Name: name, Properties: &apiextensionsv1.JSON{Raw: twin.EncodeValue(anyOf(properties))},
		})
	}
	return d
}

func anyOf(m map[string]any) any { return m }

// edit changes what the cell declares, nil: nothing but the spec.
func (c *cell) edit(declared map[twin.Leaf]any, edits ...func(*v1alpha1.PnPDeviceSpec)) error {
	if declared != nil {
		c.declared = declared
	}
	for _, edit := range edits {
		edit(&c.spec)
	}
	made := c.judge.declares(c.id, c.declared)
	c.judge.notef(c.id, "spec: suspend %v, management %q, hubRef %q, modelID %q", c.spec.Suspend, c.spec.Management, c.spec.HubRef.Name, c.spec.ModelID)
	d := c.object()
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec", "value": d.Spec}})
	if err == nil {
		err = admin.Patch(ctx, d, client.RawPatch(types.JSONPatchType, patch))
	}
	made()
	return err
}

func (c *cell) delete() error {
	c.gone, c.declared = true, nil
	made := c.judge.declares(c.id, nil)
	c.judge.notef(c.id, "the object is deleted")
	err := client.IgnoreNotFound(admin.Delete(ctx, c.site.device(c.id)))
	made()
	return err
}

// foreign has the other writer write a value.
func (c *cell) foreign(value any) error {
	l := c.leaf()
	patch := map[string]any{l.Name: value}
	if l.Component != "" {
		patch = map[string]any{l.Component: map[string]any{"__t": "c", l.Name: value}}
	}
	return c.site.sim.Hub().PatchDesired(c.id, string(twin.EncodeValue(anyOf(patch))), "")
}

// matrix is the cells of one disturbance at their hub.
type matrix struct {
	*site
	disturbance disturbance
	judge       *judge
	cells       []*cell
	// What disturbances keep.
	faults []string
	rule   *meddlingRule
	second *operator
	kept   map[string]*simulator.Twin
	unread sync.Map // ids of faults
	heard  func()   // ends a subscription
}

// each does something for all cells at once.
func (m *matrix) each(do func(*cell) error) {
	GinkgoHelper()
	var group errgroup.Group
	group.SetLimit(16)
	for _, c := range m.cells {
		group.Go(func() error {
			if err := do(c); err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
			return nil
		})
	}
	Expect(group.Wait()).To(Succeed())
}

// objects are those of the cells, by name.
func (m *matrix) objects(g Gomega) map[string]*v1alpha1.PnPDevice {
	var list v1alpha1.PnPDeviceList
	g.Expect(admin.List(ctx, &list, client.InNamespace(m.namespace), client.MatchingLabels{"cell": "yes"})).To(Succeed())
	all := make(map[string]*v1alpha1.PnPDevice, len(list.Items))
	for _, d := range list.Items {
		all[d.Name] = d
	}
	return all
}

// await waits until a condition holds of all cells. An object that is gone is nil.
func (m *matrix) await(what string, holds func(c *cell, d *v1alpha1.PnPDevice) bool) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		objects := m.objects(g)
		var not []string
		for _, c := range m.cells {
			if d := objects[c.id]; !holds(c, d) {
				not = append(not, fmt.Sprintf("%s: %s", c, readyText(d)))
			}
		}
		g.Expect(not).To(BeEmpty(), "%d of %d are not %s:\n%s", len(not), len(m.cells), what, strings.Join(not[:min(len(not), 5)], "\n"))
	}, "2m", "300ms").Should(Succeed())
}

func readyText(d *v1alpha1.PnPDevice) string {
	if d == nil {
		return "gone"
	}
	return fmt.Sprintf("%s, generation %d, observed %d, deleted %v: %s: %s", d.Name, d.Generation, d.Status.ObservedGeneration, d.DeletionTimestamp, ready(d),
		conditionOf(d, v1alpha1.ConditionReady).Message)
}

// isKnown reports whether a pass knew the newest edit, and said so.
func isKnown(_ *cell, d *v1alpha1.PnPDevice) bool {
	return d == nil || d.Status.ObservedGeneration == d.Generation
}

// noticed waits until passes know the newest edit.
func (m *matrix) noticed() {
	GinkgoHelper()
	if m.disturbance.noticed != nil {
		m.disturbance.noticed(m)
		return
	}
	m.await("observed", isKnown)
}

func isSettled(c *cell, d *v1alpha1.PnPDevice) bool {
	if c.gone || d == nil {
		return c.gone && d == nil
	}
	is := conditionOf(d, v1alpha1.ConditionReady)
	return is.Status == metav1.ConditionTrue && is.ObservedGeneration == d.Generation && d.Status.ObservedGeneration == d.Generation
}

// settled waits until the operator has nothing left to do. A person confirms removals that are
// halted.
func (m *matrix) settled() {
	GinkgoHelper()
	m.await("settled", func(c *cell, d *v1alpha1.PnPDevice) bool {
		if d != nil && conditionOf(d, v1alpha1.ConditionReady).Reason == v1alpha1.ReasonMassRemoval {
			m.confirm()
		}
		return isSettled(c, d)
	})
}

// confirm answers to removals that are halted.
func (m *matrix) confirm() {
	GinkgoHelper()
	h := m.hubObject()
	if c := conditionOf(h, v1alpha1.ConditionRemovalsHalted); c.Reason == v1alpha1.ReasonMassRemoval && h.Annotations[v1alpha1.AnnotationConfirmRemovals] == h.Status.LastConfirmedRemovals {
		m.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, fmt.Sprint(sites.Add(1))))
	}
}

// looked has the operator read all twins.
func (m *matrix) looked() {
	GinkgoHelper()
	token := fmt.Sprint(sites.Add(1))
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationReconcileRequestedAt, token)
	m.each(func(c *cell) error {
		if c.gone {
			return nil
		}
		return admin.Patch(ctx, m.device(c.id), client.RawPatch(types.MergePatchType, patch))
	})
	m.await("read", func(c *cell, d *v1alpha1.PnPDevice) bool {
		return c.gone || d != nil && d.Status.LastHandledReconcileAt == token
	})
}

// judged has the judge look at all cells.
func (m *matrix) judged(when string) {
	GinkgoHelper()
	for _, c := range m.cells {
		m.judge.notef(c.id, "judged %s", when)
		if m.disturbance.mayLeave == nil || !m.disturbance.mayLeave(c) {
			m.judge.expectNothingLeft(c.id)
		}
	}
}

// expectAsDeclared has the judge compare the hub and status with what is declared.
func (m *matrix) expectAsDeclared() {
	GinkgoHelper()
	objects := m.objects(Default)
	for _, c := range m.cells {
		if c.gone {
			continue
		}
		m.judge.expectHeld(c.id)
		entries := map[string]bool{}
		for _, p := range objects[c.id].Status.Properties {
			entries[p.Name] = p.Owned && p.Sent == nil
		}
		for _, component := range objects[c.id].Status.Components {
			for _, p := range component.Properties {
				entries[component.Name+"/"+p.Name] = p.Owned && p.Sent == nil
			}
		}
		want := map[string]bool{}
		for leaf := range c.declared {
			want[leaf.String()] = true
		}
		if !maps.Equal(entries, want) {
			m.judge.foundf(c.id, "status has properties, and whether they are owned, %v; declared are %v", entries, want)
		}
	}
}

// populate adds the devices and objects of all cells, and waits until they have converged.
func (m *matrix) populate() {
	GinkgoHelper()
	m.createBallast()
	m.createElsewhere()
	m.each(func(c *cell) error {
		c.site, c.judge = m.site, m.judge
		c.judge.notef(c.id, "%s", c)
		if m.disturbance.mayTake {
			c.judge.indulge(c.id)
		}
		if err := m.sim.Devices().Add(c.id, simulator.Spec{Model: simulator.Thermostat, Behaviour: simulator.Ignore()}); err != nil {
			return err
		}
		c.spec = v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}, TwinAPI: c.api, ReadyWhen: v1alpha1.ReadyWhenApplied}
		if c.course == deleted {
			c.spec.DeletionPolicy = v1alpha1.DeletionClear
		}
		c.declared = c.with(nil)
		first := c.value(1) // the value that is declared first
		if c.isOwned {
			first = c.value(0)
			c.declared = c.with(first)
		}
		if err := c.precede(first); err != nil {
			return err
		}
		made := c.judge.declares(c.id, c.declared)
		defer made()
		return admin.Create(ctx, c.object())
	})
	m.settled()
}

// precede is what the other writer has written before the object is there.
func (c *cell) precede(first any) error {
	switch c.rival {
	case differsBefore:
		return c.foreign(c.theirs())
	case equalBefore:
		return c.foreign(first)
	}
	return nil
}

// ballast is how many objects there are beside those of the cells.
func (m *matrix) ballast() int { return len(m.cells)/40 + 2 }

func ballast(i int) string { return fmt.Sprintf("ballast-%d", i) }

// createBallast has objects own so many properties that the brake is not for the cells.
func (m *matrix) createBallast() {
	GinkgoHelper()
	const each = 500
	properties := map[string]any{}
	for i := range each {
		properties[fmt.Sprintf("p%d", i)] = json.Number("1")
	}
	for i := range m.ballast() {
		m.announceSilent(ballast(i))
		m.create(ballast(i), through(v1alpha1.TwinAPIDeviceTwin), onceApplied, withProperties(string(twin.EncodeValue(anyOf(properties)))))
	}
	m.allReady()
}

// steps are what becomes of the declaration of a cell, one edit after the other.
func (c *cell) steps() []func() error {
	gone := c.with(nil)
	switch c.course {
	case replaced:
		gone[c.other()] = json.Number("3")
		return []func() error{func() error { return c.edit(gone) }}
	case changedTwice:
		return []func() error{
			func() error { return c.edit(c.with(c.value(2))) },
			func() error { return c.edit(c.with(c.value(3))) },
		}
	case deleted:
		return []func() error{c.delete}
	case observedBack:
		manage := func(how v1alpha1.Management) func(*v1alpha1.PnPDeviceSpec) {
			return func(spec *v1alpha1.PnPDeviceSpec) { spec.Management = how }
		}
		return []func() error{
			func() error { return c.edit(nil, manage(v1alpha1.ManagementObserve)) },
			func() error { return c.edit(gone, manage(v1alpha1.ManagementEnforce)) },
		}
	case movedBack:
		move := func(hub string) func(*v1alpha1.PnPDeviceSpec) {
			return func(spec *v1alpha1.PnPDeviceSpec) { spec.HubRef.Name = hub }
		}
		return []func() error{
			func() error { return c.edit(nil, move("elsewhere")) },
			func() error { return c.edit(gone, move("hub")) },
		}
	}
	return []func() error{func() error { return c.edit(gone) }}
}

// change has all declarations go their courses.
func (m *matrix) change() {
	GinkgoHelper()
	for n := range 2 {
		m.each(func(c *cell) error {
			if steps := c.steps(); n < len(steps) {
				return steps[n]()
			}
			return nil
		})
		m.noticed()
	}
}

// run is one disturbance.
func (m *matrix) run() {
	GinkgoHelper()
	d := m.disturbance
	By("beginning the disturbance")
	d.begin(m)
	By("declaring the value")
	m.each(func(c *cell) error { return c.edit(c.with(c.value(1))) })
	if d.declared != nil {
		d.declared(m)
	} else {
		m.noticed()
	}
	m.each(func(c *cell) error {
		switch c.rival {
		case differsMidway:
			return c.foreign(c.theirs())
		case equalMidway:
			return c.foreign(c.value(1))
		}
		return nil
	})
	if d.midway != nil {
		d.midway(m)
	}
	By("changing the declaration again")
	m.change()
	m.each(func(c *cell) error {
		switch c.rival {
		case equalByHand:
			return c.foreign(c.last())
		case differsByHand:
			return c.foreign(c.theirs())
		}
		return nil
	})
	By("ending the disturbance")
	d.end(m)
	m.settled()
	m.judged("when all is ready")

	By("reading all twins")
	m.looked()
	m.settled()
	m.judged("when all was read")
	m.expectAsDeclared()

	By("taking back what is left")
	m.each(func(c *cell) error {
		if c.gone {
			return nil
		}
		return c.edit(c.with(nil))
	})
	m.settled()
	m.judged("when all was taken back")
	m.expectAsDeclared()
}

// last is the value that was declared last.
func (c *cell) last() any {
	if c.course == changedTwice {
		return c.value(3)
	}
	return c.value(1)
}

var _ = Describe("Whatever keeps writes from going out,", func() {
	for _, d := range disturbances {
		It("nothing of others is removed and nothing of ours is left behind: "+d.name, func() {
			if os.Getenv("PNP_MATRIX") == "" {
				Skip("takes minutes: make matrix")
			}
			started := time.Now()
			m := &matrix{site: newSite(), disturbance: d, cells: cells(d)}
			Expect(len(m.cells)).To(BeNumerically(">=", allCells()/2), "half of the cells can be ruled out, not more")
			var end func()
			m.judge, end = judging(m.sim.Hub())
			DeferCleanup(end)
			m.populate()
			m.run()
			AddReportEntry("cells", fmt.Sprintf("%d cells in %s", len(m.cells), time.Since(started).Round(time.Second)), ReportEntryVisibilityFailureOrVerbose)
			if verdict := m.judge.verdict(); verdict != "" {
				Fail(verdict)
			}
		})
	}
})
