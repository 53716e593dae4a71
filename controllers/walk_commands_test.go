package controllers_test

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// answersCommands has the device answer each command in this way.
func (s *site) answersCommands(a simulator.CommandAnswer) {
	GinkgoHelper()
	Expect(s.sim.Devices().AnswerCommand("d", report, a)).To(Succeed())
}

// expiringAfter has a command expire after a time.
func expiringAfter(d time.Duration) func(*v1alpha1.DeviceCommand) {
	return commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.NotAfter = metav1.NewTime(time.Now().Add(d)) })
}

// modelled is a plant whose commands are checked.
func modelled() *site {
	GinkgoHelper()
	s := plant()
	s.createModel("thermostat")
	s.createModel("temperaturecontroller")
	s.eventuallyModel("temperaturecontroller", beReady())
	s.eventually("d", haveCondition(v1alpha1.ConditionConformsToModel, "True/"+v1alpha1.ReasonConforms))
	return s
}

// ends is a walk into a state that nothing ends.
func ends(enter func(s *site), shows seen) walk {
	return walk{from: plant, enter: func(s *site) func() {
		enter(s)
		return nil
	}, shows: shows}
}

// heldFor is a walk in which a command waits for something that begins before it, and ends.
func heldFor(begin func(s *site) (end func()), shows seen, within time.Duration, edits ...func(*v1alpha1.DeviceCommand)) walk {
	return walk{from: plant, enter: func(s *site) func() {
		end := begin(s)
		s.run("c", edits...)
		return end
	}, shows: shows, within: within}
}

var walksOfCommands = map[string]walk{
	// Outcomes.
	"it ran": ends(func(s *site) { s.run("c") }, current(v1alpha1.ReasonSucceeded, "Succeeded 200 The device answered with code 200")),
	"the device answered with another code": ends(func(s *site) {
		s.answersCommands(simulator.CommandAnswer{Status: 503})
		s.run("c")
	}, fails(v1alpha1.ReasonDeviceFailed, "Failed 503 The device answered with code 503")),
	"the device does not answer": ends(func(s *site) {
		s.answersCommands(simulator.CommandAnswer{Silent: true})
		s.run("c")
	}, fails(v1alpha1.ReasonOutcomeUnknown, "Unknown ")),
	"the hub fails after it was sent": ends(func(s *site) {
		s.lies(simulator.Fault{Kind: simulator.FaultStatusAfter, Status: 500})
		s.run("c")
	}, fails(v1alpha1.ReasonOutcomeUnknown, "Unknown ")),
	"the hub refuses it": ends(func(s *site) {
		s.lies(simulator.Fault{Kind: simulator.FaultStatus, Status: 400, Code: "ArgumentInvalid", Number: 400004})
		s.run("c")
	}, fails(v1alpha1.ReasonHubRefused, "Failed ")),
	"it is too late": ends(func(s *site) { s.run("c", expiringAfter(-time.Second)) }, fails(v1alpha1.ReasonExpired, "Expired notAfter passed")),
	"it is too late, after it was tried": ends(func(s *site) {
		s.goesOffline()
		s.run("c", expiringAfter(4*time.Second))
	}, fails(v1alpha1.ReasonExpired, "Expired notAfter passed before the command was delivered; last: the device is offline")),
	"it cannot be sent": ends(func(s *site) {
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Payload = object(`"` + strings.Repeat("x", 128<<10) + `"`) }))
	}, fails(v1alpha1.ReasonInvalidCommand, "Failed ")),
	"its DeviceModel forbids it": {
		from: modelled,
		enter: func(s *site) func() {
			s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Payload = object(`"yesterday"`) }))
			return nil
		},
		shows: fails(v1alpha1.ReasonModelViolation, "Failed "),
	},
	"an earlier object had its outcome": ends(func(s *site) {
		first := s.ranOnce("c")
		s.remove(first)
		Expect(admin.Create(ctx, strip(first))).To(Succeed())
	}, current(v1alpha1.ReasonRecorded, "Succeeded 200 Nothing was sent")),

	// On its way.
	"it runs": {
		from: plant,
		enter: func(s *site) func() {
			s.answersCommands(simulator.CommandAnswer{Status: 200, Delay: 6 * time.Second})
			s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.ResponseTimeoutSeconds = 60 }))
			return func() {}
		},
		shows: waits(v1alpha1.ReasonRunning, ""), within: asked,
	},
	"others come first": {
		from: plant,
		enter: func(s *site) func() {
			s.answersCommands(simulator.CommandAnswer{Status: 200, Delay: 6 * time.Second})
			s.run("a", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.ResponseTimeoutSeconds = 60 }))
			Eventually(func() int { return s.ran(report) }).Should(Equal(1))
			s.answersCommands(simulator.CommandAnswer{Status: 200})
			s.run("c")
			return func() { s.eventuallyCommand("a", haveOutcome(v1alpha1.CommandSucceeded)) }
		},
		shows: waits(v1alpha1.ReasonQueued, ""), within: told,
	},
	"an earlier object of it may still run": {
		from: plant,
		enter: func(s *site) func() {
			s.answersCommands(simulator.CommandAnswer{Silent: true})
			s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.ResponseTimeoutSeconds = 300 }))
			Eventually(func() int { return s.ran(report) }).Should(Equal(1))
			first := s.getCommand("c")
			s.remove(first)
			s.eventuallyEvent(v1alpha1.ReasonCommandAbandoned, "may have run")
			Expect(admin.Create(ctx, strip(first))).To(Succeed())
			return nil
		},
		shows: waits(v1alpha1.ReasonEarlierAttempt, ""),
	},
	"nobody knows whether it ran, and it may run twice": {
		from: plant,
		enter: func(s *site) func() {
			manager.stop()
			c := s.command("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) {
				c.OnUnknownOutcome, c.NotAfter = v1alpha1.UnknownRetry, metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second))
			}))
			Expect(admin.Create(ctx, c)).To(Succeed())
			s.putOnRecord(c, ledger.Entries{ledger.KeyOf(c): {
				UID: "another", Request: "r1", By: "another", At: time.Now().Add(-time.Minute), Until: time.Now().Add(15 * time.Second), NotAfter: c.Spec.NotAfter.Time,
			}})
			manager = startOperator()
			return func() {}
		},
		shows: waits(v1alpha1.ReasonRetryingUnknownOutcome, ""), within: asked,
	},

	// Its device.
	"its device is offline": heldFor(func(s *site) func() {
		s.goesOffline()
		return s.comesOnline
	}, waits(v1alpha1.ReasonDeviceOffline, "device is offline"), toldWithin),
	"its device is disabled": heldFor(func(s *site) func() {
		s.disable("d", "")
		s.lies(simulator.Fault{Kind: simulator.FaultStatus, Status: http.StatusForbidden, Code: "DeviceDisabled", Number: 403012, Message: `The device "d" is disabled`})
		return func() {
			s.enable("d")
			s.comesOnline()
		}
	}, waits(v1alpha1.ReasonDeviceDisabled, "disabled"), toldWithin),
	"its device is gone": heldFor(func(s *site) func() {
		s.goesOffline()
		Expect(s.sim.Hub().DeleteDevice("d")).To(Succeed())
		return func() {
			Expect(s.sim.Hub().CreateDevice("d")).To(Succeed())
			s.comesOnline()
		}
	}, waits(v1alpha1.ReasonDeviceNotFound, "404 DeviceNotFound (404001)"), toldWithin),
	"its device has another model": heldFor(func(s *site) func() {
		s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = "dtmi:other;1" }))
		s.eventually("d", beStalled(v1alpha1.ReasonModelMismatch))
		return s.edits(withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = "" }))
	}, waits(v1alpha1.ReasonModelMismatch, "model"), toldWithin),

	// Its PnPDevice.
	"its PnPDevice is not there": heldFor(func(s *site) func() {
		return func() {
			s.virtual("e", simulator.TemperatureController, simulator.Acknowledge())
			s.create("e", withComponent("thermostat1", `{"targetTemperature":20}`))
		}
	}, waits(v1alpha1.ReasonPnPDeviceNotFound, `PnPDevice "e" does not exist`), toldWithin, ofDevice("e")),
	"its PnPDevice is suspended": heldFor(func(s *site) func() {
		s.edit("d", suspended)
		s.eventually("d", haveCondition(v1alpha1.ConditionSuspended, "True/Suspended"))
		return s.edits(resumed)
	}, waits(v1alpha1.ReasonSuspended, `PnPDevice "d" is suspended`), toldWithin),
	"another PnPDevice has its device": heldFor(func(s *site) func() {
		s.create("e", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeviceID = "d" }))
		s.eventually("e", beStalled(v1alpha1.ReasonDeviceAlreadyDeclared))
		return func() { Expect(admin.Delete(ctx, s.get("d"))).To(Succeed()) }
	}, waits(v1alpha1.ReasonDeviceAlreadyDeclared, `PnPDevice "e" does not have its device`), toldWithin, ofDevice("e")),
	"its DeviceModel is not ready": {
		from: modelled,
		enter: func(s *site) func() {
			s.editModel("thermostat", inDTDL(`"double"`, `"dubble"`))
			s.eventuallyModel("temperaturecontroller", Not(beReady()))
			s.run("c")
			return func() {
				s.editModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Spec.DTDL = s.sampleModel("thermostat").Spec.DTDL })
			}
		},
		shows: waits(v1alpha1.ReasonModelNotReady, "DeviceModel"), within: toldWithin,
	},

	// Its IoTHub, and the hub.
	"its IoTHub is suspended": heldFor(func(s *site) func() {
		s.suspendHub(true)
		return s.resumes()
	}, waits(v1alpha1.ReasonHubSuspended, `IoTHub "hub" is suspended`), toldWithin),
	"its IoTHub is not ready": heldFor(func(s *site) func() {
		end := s.outage()
		s.eventuallyHub(beStalled(v1alpha1.ReasonInvalidConnectionString))
		return end
	}, waits(v1alpha1.ReasonHubNotReady, `IoTHub "hub" is not ready`), toldWithin),
	"its IoTHub is gone": heldFor((*site).takeHub, waits(v1alpha1.ReasonHubNotFound, `IoTHub "hub" does not exist`), toldWithin),
	"the hub throttles it": heldFor(func(s *site) func() {
		s.lies(simulator.Fault{Kind: simulator.FaultStatus, Status: http.StatusTooManyRequests, Code: "ThrottlingException", Number: 429001, Count: simulator.Forever})
		return s.recovers
	}, waits(v1alpha1.ReasonThrottled, ""), asked),
	"the hub's own messages of the day are used": {
		from: func() *site {
			s := newSite()
			s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
			s.create("d", withComponent("thermostat1", `{"targetTemperature":20}`), temperature(20))
			s.eventually("d", beReady())
			return s
		},
		enter: func(s *site) func() {
			s.outOfMessages()
			s.run("c")
			return s.unitsAreAdded
		},
		shows: waits(v1alpha1.ReasonQuotaExceeded, "(403002)"), within: toldWithin,
	},

	// The record of commands.
	"the record of commands cannot be read": onRecord(func(ledger.Entries) string { return "{" }, v1alpha1.ReasonLedgerUnreadable),
	"the record of commands is full":        onRecord(encoded, v1alpha1.ReasonLedgerFull),
}

// onRecord is a walk in which the record is what something makes of one with no room.
func onRecord(text func(ledger.Entries) string, reason string) walk {
	return walk{
		from: plant,
		enter: func(s *site) func() {
			manager.stop()
			c, full := s.command("c"), ledger.Entries{}
			for i := range 2000 {
				full[ledger.Key{Name: fmt.Sprint(i), Spec: "s"}] = ledger.Entry{UID: "u", Request: "r", NotAfter: time.Now().Add(time.Hour)}
			}
			s.putText(c, text(full))
			manager = startOperator()
			s.run("c")
			return func() {
				manager.stop()
				s.putOnRecord(c, ledger.Entries{})
				manager = startOperator()
			}
		},
		shows: waits(reason, ""), within: asked,
	}
}
