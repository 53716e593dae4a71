package controllers_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
)

// disturbance is what keeps a declaration from its device, or what status knows from being so.
type disturbance struct {
	name string
	// rulesOut says why a cell cannot be, or need not; "": it can.
	rulesOut func(*cell) string
	// begin comes before the property is declared, end when nothing is to be edited any more.
	begin, end func(*matrix)
	// declared waits until the first edit has got as far as it can, and midway comes after that;
	// noticed waits likewise after each further edit. nil: until status shows that a pass knew of
	// the edit; and nothing.
	declared, midway, noticed func(*matrix)
	// mayLeave reports whether docs say that a value of ours may stay at the hub.
	mayLeave func(*cell) bool
	// mayTake is true where a write may have been made of which nobody has read what became of
	// it: the same value, written by hand with the version that this write would have made, is
	// taken for it.
	mayTake bool
}

func nothing(*matrix) {}

// hubFails has the hub fail.
func hubFails(faults ...simulator.Fault) (begin, end func(*matrix)) {
	begin = func(m *matrix) {
		for _, f := range faults {
			m.faults = append(m.faults, m.sim.Faults().Add(f))
		}
	}
	return begin, func(m *matrix) {
		for _, id := range m.faults {
			m.sim.Faults().Remove(id)
		}
	}
}

// specs edits the spec of all cells that have an object.
func (m *matrix) specs(edit func(*v1alpha1.PnPDeviceSpec)) {
	GinkgoHelper()
	m.each(func(c *cell) error {
		if c.gone {
			return nil
		}
		return c.edit(nil, edit)
	})
}

// atHub waits until the hub holds the first value of each cell.
func (m *matrix) atHub() {
	GinkgoHelper()
	m.await("written", func(c *cell, _ *v1alpha1.PnPDevice) bool {
		held, err := m.sim.Hub().Get(c.id)
		return err == nil && twin.Equal(leavesOf(held.Desired())[c.leaf()], c.value(1))
	})
}

func (m *matrix) converged() {
	GinkgoHelper()
	m.await("settled", isSettled)
}

// renewed is what the other writer has written to a device that is not the one that status knows,
// nil if nothing. late: nobody writes to it afterwards.
func (c *cell) renewed(late bool) any {
	switch {
	case c.rival == differsBefore || c.rival == differsMidway || c.rival == differsByHand && late:
		return c.theirs()
	case c.rival == equalBefore || c.rival == equalMidway || c.rival == equalByHand && late:
		return c.last()
	}
	return nil
}

// count has the other writer write until the counter of the twin's etag is what it was, and last
// of all the value of the cell.
func (m *matrix) count(c *cell, to *simulator.Twin, late bool) error {
	for {
		t, err := m.sim.Hub().Get(c.id)
		if err != nil {
			return err
		}
		left, value := to.ETagCounter()-t.ETagCounter(), c.renewed(late)
		switch {
		case left < 0:
			return fmt.Errorf("the etag is past the one that status knows")
		case left == 0:
			return nil
		case left == 1 && value != nil:
			err = c.foreign(value)
		default:
			err = m.sim.Hub().PatchDesired(c.id, fmt.Sprintf(`{"pad":%d}`, left), "")
		}
		if err != nil {
			return err
		}
	}
}

// recreated has all devices created anew and provisioned by somebody else.
func (m *matrix) recreated(late bool) {
	GinkgoHelper()
	m.each(func(c *cell) error {
		known, err := m.sim.Hub().Get(c.id)
		if err != nil {
			return err
		}
		if err := m.sim.Devices().Remove(c.id); err != nil {
			return err
		}
		if err := m.sim.Hub().DeleteDevice(c.id); err != nil {
			return err
		}
		if err := m.sim.Hub().CreateDevice(c.id); err != nil {
			return err
		}
		return m.count(c, known, late)
	})
}

// remember keeps the state of all twins.
func (m *matrix) remember() {
	GinkgoHelper()
	m.kept = map[string]*simulator.Twin{}
	for _, c := range m.cells {
		t, err := m.sim.Hub().Get(c.id)
		Expect(err).NotTo(HaveOccurred())
		m.kept[c.id] = t
	}
}

// failedOver has the hub lose what it was told since remember, and the other writer write to what
// is left.
func (m *matrix) failedOver(late bool) {
	GinkgoHelper()
	m.each(func(c *cell) error {
		known, err := m.sim.Hub().Get(c.id)
		if err != nil {
			return err
		}
		if err := m.sim.Hub().Rewind(c.id, m.kept[c.id]); err != nil {
			return err
		}
		return m.count(c, known, late)
	})
}

// stopped ends the operator for good. What it tried in vain is forgotten with it.
func (m *matrix) stopped() {
	GinkgoHelper()
	manager.stop()
	meddler.end()
	for _, id := range m.faults {
		m.sim.Faults().Remove(id)
	}
}

func startedAnew(*matrix) { manager = startOperator() }

var (
	beginUnavailable, endUnavailable = hubFails(simulator.Unavailable().On("*", "c-*").Times(simulator.Forever))
	beginThrottled, endThrottled     = hubFails(simulator.Throttled().On("Patch*", "c-*").Times(simulator.Forever))
	beginContended, endContended     = hubFails(simulator.Fault{Operation: "Patch*", Device: "c-*", Kind: simulator.FaultStatus, Status: 412, Count: simulator.Forever})
	beginUnwritable, _               = hubFails(simulator.Unavailable().On("Patch*", "c-*").Times(simulator.Forever))
	beginUnanswered, endUnanswered   = hubFails(simulator.Broken(simulator.FaultResetAfter).On("Patch*", "c-*").Times(simulator.Forever))
)

var disturbances = []disturbance{
	{
		name:  "the hub is suspended",
		begin: func(m *matrix) { m.suspendHub(true) },
		end:   func(m *matrix) { m.suspendHub(false) },
	},
	{
		name: "the object is suspended",
		rulesOut: func(c *cell) string {
			if c.course == deleted {
				return "docs say that a suspended object goes without clearing"
			}
			return ""
		},
		begin: func(m *matrix) { m.specs(func(spec *v1alpha1.PnPDeviceSpec) { spec.Suspend = true }) },
		end:   func(m *matrix) { m.specs(func(spec *v1alpha1.PnPDeviceSpec) { spec.Suspend = false }) },
	},
	{name: "the hub answers 503", begin: beginUnavailable, end: endUnavailable, mayTake: true},
	{name: "the hub answers writes with 429", begin: beginThrottled, end: endThrottled},
	{name: "others write in between each time", begin: beginContended, end: endContended},
	{
		name:  "the request budget has few writes",
		begin: func(m *matrix) { m.ration(budget(func(b *v1alpha1.RequestBudget) { b.TwinWritesPerSecond = 1 })) },
		end:   func(m *matrix) { m.ration(plenty) },
	},
	{
		name: "removals are halted",
		begin: func(m *matrix) {
			for i := range m.ballast()/5 + 1 {
				m.edit(ballast(i), withProperties(`{}`))
			}
			m.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		},
		end: (*matrix).confirm,
	},
	{
		name: "the device has another model",
		begin: func(m *matrix) {
			m.specs(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = simulator.TemperatureController })
		},
		end: func(m *matrix) { m.specs(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = "" }) },
	},
	{
		name: "the DeviceModel is not ready",
		begin: func(m *matrix) {
			m.createModel("thermostat", inDTDL(`"double"`, `"dubble"`))
			m.eventuallyModel("thermostat", beStalled(v1alpha1.ReasonInvalidModel))
		},
		end: func(m *matrix) {
			Expect(admin.Delete(ctx, m.sampleModel("thermostat"))).To(Succeed())
		},
	},
	{
		name: "the operator is killed between its record and its write",
		rulesOut: func(c *cell) string {
			if c.isOwned {
				return "the edit of an owned property is not recorded before it is sent"
			}
			return ""
		},
		begin: func(m *matrix) {
			m.rule = meddler.begin(m.namespace, true)
			DeferCleanup(meddler.end)
			beginUnwritable(m)
		},
		declared: func(m *matrix) {
			m.await("recorded", func(c *cell, d *v1alpha1.PnPDevice) bool {
				return meddler.hasClaimed(m.rule, c.id) || isKnown(c, d) || meddler.refusedGeneration(m.rule, c.id) == d.Generation
			})
			m.stopped()
		},
		noticed: nothing,
		end:     startedAnew,
		mayTake: true,
	},
	{
		name: "the operator is killed between its write and what it records of it",
		begin: func(m *matrix) {
			m.rule = meddler.begin(m.namespace, false)
			DeferCleanup(meddler.end)
		},
		declared: func(m *matrix) { m.atHub(); m.stopped() },
		noticed:  nothing,
		end:      startedAnew,
		mayLeave: func(c *cell) bool { return c.isOwned }, // an edit that no status knows
	},
	{
		name: "answers are lost, and reads fail then",
		begin: func(m *matrix) {
			// From the moment on in which the hub takes a write, the twin cannot be read.
			unsubscribe := m.sim.Hub().Subscribe(func(c hub.Change) {
				if c.Service && c.Desired != nil {
					m.unread.Store(m.sim.Faults().Add(simulator.Unavailable().On(simulator.OpGetTwin, c.DeviceID).Times(simulator.Forever)), true)
				}
			})
			m.heard = unsubscribe
			beginUnanswered(m)
		},
		declared: (*matrix).atHub,
		end: func(m *matrix) {
			m.heard()
			endUnanswered(m)
			m.unread.Range(func(id, _ any) bool { m.sim.Faults().Remove(id.(string)); return true })
		},
	},
	{
		name: "status cannot be written",
		begin: func(m *matrix) {
			m.rule = meddler.begin(m.namespace, false)
			DeferCleanup(meddler.end)
		},
		declared: (*matrix).atHub,
		noticed: func(m *matrix) {
			m.await("tried", func(c *cell, d *v1alpha1.PnPDevice) bool {
				return isKnown(c, d) || meddler.refusedGeneration(m.rule, c.id) == d.Generation
			})
		},
		end: func(*matrix) { meddler.end() },
	},
	{
		name:  "two replicas act at once",
		begin: func(m *matrix) { m.second = startOperator() },
		end:   func(m *matrix) { m.second.stop() },
		// The lease keeps two from acting at once. Were it not to, what one of them wrote and could
		// not record, the other one would let go.
		mayLeave: func(*cell) bool { return true },
	},
	{
		name:    "the leader changes after each edit",
		begin:   nothing,
		noticed: func(*matrix) { restartOperator() },
		end:     nothing,
		mayTake: true, // it is told to stop between its record and its write
	},
	{
		name:     "the device is created anew with the etag that is known",
		begin:    nothing,
		declared: (*matrix).converged,
		midway:   func(m *matrix) { m.recreated(false) },
		end:      nothing,
	},
	{
		name:     "the device is created anew with the etag that is known while the hub is suspended",
		begin:    nothing,
		declared: func(m *matrix) { m.converged(); m.suspendHub(true) },
		end:      func(m *matrix) { m.recreated(true); m.suspendHub(false) },
	},
	{
		name:     "the hub fails over to an older copy, to the etag that is known",
		begin:    (*matrix).remember,
		declared: (*matrix).converged,
		midway:   func(m *matrix) { m.failedOver(false) },
		end:      nothing,
	},
	{
		name:     "the hub fails over to an older copy, to the etag that is known, while it is suspended",
		begin:    (*matrix).remember,
		declared: func(m *matrix) { m.converged(); m.suspendHub(true) },
		end:      func(m *matrix) { m.failedOver(true); m.suspendHub(false) },
	},
}
