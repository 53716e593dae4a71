package controllers_test

import (
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// ranOnce is a command that ran, as it is and as Git has it.
func (s *site) ranOnce(name string, edits ...func(*v1alpha1.DeviceCommand)) *v1alpha1.DeviceCommand {
	GinkgoHelper()
	s.run(name, edits...)
	s.eventuallyCommand(name, Not(haveOutcome("")))
	Expect(s.ran(report)).To(Equal(1))
	return s.getCommand(name)
}

// remove deletes a command and waits until it is gone.
func (s *site) remove(c *v1alpha1.DeviceCommand) {
	GinkgoHelper()
	Expect(admin.Delete(ctx, c)).To(Succeed())
	Eventually(func() error {
		return admin.Get(ctx, client.ObjectKeyFromObject(c), &v1alpha1.DeviceCommand{})
	}).ShouldNot(Succeed())
}

// isRecordOf matches a command that shows what became of another object.
func isRecordOf(first *v1alpha1.DeviceCommand) gomegatypes.GomegaMatcher {
	return SatisfyAll(
		haveOutcome(first.Status.Outcome), haveReadyReason(v1alpha1.ReasonRecorded),
		HaveField("Status.StatusCode", Equal(first.Status.StatusCode)), HaveField("Status.Response", Equal(first.Status.Response)),
		HaveField("Status.RequestID", first.Status.RequestID), HaveField("Status.CompletionTime.Unix()", first.Status.CompletionTime.Unix()),
		HaveField("Annotations", HaveKeyWithValue(v1alpha1.AnnotationAttempt, first.Status.RequestID)),
		WithTransform(func(c *v1alpha1.DeviceCommand) string { return conditionOf(c, v1alpha1.ConditionReady).Message },
			SatisfyAll(ContainSubstring("Nothing was sent"), ContainSubstring(conditionOf(first, v1alpha1.ConditionReady).Message))),
	)
}

var _ = Describe("A DeviceCommand that is made again under the same name", func() {
	for _, running := range []bool{true, false} {
		DescribeTable(fmt.Sprintf("does not run again, and shows what became of it (an operator runs meanwhile: %v)", running),
			func(again func(*v1alpha1.DeviceCommand) *v1alpha1.DeviceCommand, code int) {
				s := plant()
				Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Status: code, Payload: []byte(`{"a":null}`)})).To(Succeed())
				first := s.ranOnce("c")
				if !running {
					manager.stop()
				}
				s.remove(first)
				Expect(admin.Create(ctx, again(first))).To(Succeed())
				if !running {
					manager = startOperator()
				}
				s.eventuallyCommand("c", isRecordOf(first))
				Consistently(func() int { return s.ran(report) }, time.Second).Should(Equal(1))
			},
			Entry("as it was, restored with its annotation", backup[*v1alpha1.DeviceCommand], 200),
			Entry("without its annotation, as by prune and add again", strip, 200),
			Entry("after it failed, as a hook is by a retry", strip, 503),
		)
	}

	It("shows what became of it after its time to live, too", func() {
		s := plant()
		first := s.ranOnce("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) {
			c.TTLSecondsAfterFinished, c.NotAfter = new(int32(3)), metav1.NewTime(time.Now().Add(4*time.Second))
		}))
		gone := func() error { return admin.Get(ctx, client.ObjectKeyFromObject(first), &v1alpha1.DeviceCommand{}) }
		Eventually(gone).ShouldNot(Succeed())
		Expect(admin.Create(ctx, strip(first))).To(Succeed())
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandSucceeded), haveReadyReason(v1alpha1.ReasonRecorded)))
		Eventually(gone).ShouldNot(Succeed(), "it lives as long as the first")
		Expect(s.ran(report)).To(Equal(1))
	})

	It("runs with another spec, and not with the first one again", func() {
		s := plant()
		first := s.ranOnce("c")
		s.remove(first)
		other := strip(first)
		other.Spec.Payload = object(`"2026-11-23T10:00:00Z"`)
		Expect(admin.Create(ctx, other)).To(Succeed())
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandSucceeded), haveReadyReason(v1alpha1.ReasonSucceeded)))
		Expect(s.ran(report)).To(Equal(2))
		s.remove(other)
		Expect(admin.Create(ctx, strip(first))).To(Succeed())
		s.eventuallyCommand("c", isRecordOf(first))
		Expect(s.ran(report)).To(Equal(2))
	})

	It("has the answer of an attempt that is under way", func() {
		s := plant()
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Silent: true})).To(Succeed())
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.ResponseTimeoutSeconds = 300 }))
		Eventually(func() int { return s.ran(report) }).Should(Equal(1))
		first := s.getCommand("c")
		s.remove(first)
		s.eventuallyEvent(v1alpha1.ReasonCommandAbandoned, "may have run")
		Expect(admin.Create(ctx, strip(first))).To(Succeed())
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonEarlierAttempt))
		Consistently(func() int { return s.ran(report) }, time.Second).Should(Equal(1))
	})

	DescribeTable("after an attempt of which nothing is known", func(policy v1alpha1.UnknownOutcomePolicy, meanwhile string, outcome v1alpha1.CommandOutcome, runs int) {
		s := plant()
		manager.stop()
		c := s.command("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) {
			c.OnUnknownOutcome, c.NotAfter = policy, metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second))
		}))
		Expect(admin.Create(ctx, c)).To(Succeed()) // with its defaults
		s.putOnRecord(c, ledger.Entries{ledger.KeyOf(c): {
			UID: "another", Request: "r1", By: "another", At: time.Now().Add(-time.Minute), Until: time.Now().Add(6 * time.Second), NotAfter: c.Spec.NotAfter.Time,
		}})
		manager = startOperator()
		s.eventuallyCommand("c", waitsFor(meanwhile))
		Expect(s.ran(report)).To(BeZero())
		s.eventuallyCommand("c", haveOutcome(outcome))
		Consistently(func() int { return s.ran(report) }, time.Second).Should(Equal(runs))
	},
		Entry("waits for its end, and is Unknown", v1alpha1.UnknownFail, v1alpha1.ReasonEarlierAttempt, v1alpha1.CommandUnknown, 0),
		Entry("waits for its end, and runs if it may run twice", v1alpha1.UnknownRetry, v1alpha1.ReasonRetryingUnknownOutcome, v1alpha1.CommandSucceeded, 1),
	)
})

var _ = Describe("The record of commands", func() {
	It("is there before anything is sent, and names who claimed it and until when", func() {
		s := plant()
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Status: 200, Delay: 2 * time.Second})).To(Succeed())
		s.run("c")
		Eventually(func() int { return s.ran(report) }).Should(Equal(1))
		c := s.getCommand("c")
		e := s.onRecord(c)
		Expect(e).NotTo(BeNil())
		Expect(e.Outcome).To(BeNil())
		Expect(e.By).NotTo(BeEmpty())
		Expect(e.Until).To(BeTemporally(">", time.Now()))
		Expect(e.UID).To(BeEquivalentTo(c.UID))
		Expect(c.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationAttempt, e.Request))
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
		Eventually(func() *ledger.Outcome { return s.onRecord(c).Outcome }).Should(HaveValue(HaveField("Outcome", v1alpha1.CommandSucceeded)))
	})

	DescribeTable("holds the commands of its namespace, and no other's", func(text func(ledger.Entries) string, reason string) {
		s, neighbour := plant(), plant()
		manager.stop()
		c := s.command("c")
		full := ledger.Entries{}
		for i := range 2000 {
			full[ledger.Key{Name: fmt.Sprint(i), Spec: "s"}] = ledger.Entry{UID: "u", Request: "r", NotAfter: time.Now().Add(time.Hour)}
		}
		s.putText(c, text(full))
		manager = startOperator()
		s.run("c")
		s.eventuallyCommand("c", waitsFor(reason))
		neighbour.run("c")
		neighbour.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
		Expect(s.ran(report)).To(BeZero())
		Expect(s.getCommand("c").Annotations).NotTo(HaveKey(v1alpha1.AnnotationAttempt))
		By("being mended")
		manager.stop()
		s.putOnRecord(c, ledger.Entries{})
		manager = startOperator()
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
	},
		Entry("that is full holds the commands of its namespace, and no other's", encoded, v1alpha1.ReasonLedgerFull),
		Entry("that cannot be decoded", func(ledger.Entries) string { return "{" }, v1alpha1.ReasonLedgerUnreadable),
		Entry("of a later version", func(ledger.Entries) string { return `{"format":2,"entries":{}}` }, v1alpha1.ReasonLedgerUnreadable),
	)

	It("that somebody else wrote meanwhile is read again", func() {
		s := plant()
		first := s.ranOnce("c")
		Eventually(func() *ledger.Outcome { return s.onRecord(first).Outcome }).ShouldNot(BeNil())
		m := s.ledgerOf(first)
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(m), m)).To(Succeed())
		metav1.SetMetaDataAnnotation(&m.ObjectMeta, "team", "red")
		Expect(admin.Update(ctx, m)).To(Succeed())
		s.remove(first)
		other := strip(first)
		other.Spec.Payload = object(`"2026-11-23T10:00:00Z"`)
		Expect(admin.Create(ctx, other)).To(Succeed())
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
		Expect(s.onRecord(first)).NotTo(BeNil())
		Expect(s.onRecord(s.getCommand("c"))).NotTo(BeNil())
	})

	It("has two operators send each command once", func() {
		s := plant()
		second := startOperator()
		defer second.stop()
		const n = 8
		for i := range n {
			s.run(fmt.Sprint("c", i))
		}
		unknown := 0
		for i := range n {
			s.eventuallyCommand(fmt.Sprint("c", i), Not(haveOutcome("")))
			if s.getCommand(fmt.Sprint("c", i)).Status.Outcome == v1alpha1.CommandUnknown {
				unknown++
			}
		}
		AddReportEntry("Unknown, of 8 commands", unknown, ReportEntryVisibilityFailureOrVerbose)
		Expect(s.ran(report)).To(And(BeNumerically("<=", n), BeNumerically(">=", n-unknown)))
	})

	It("is out of a tenant's reach", func() {
		s := plant()
		everything := &rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "tenant"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}},
		}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "tenant"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "tenant"}},
		}
		Expect(admin.Create(ctx, everything)).To(Succeed())
		Expect(admin.Create(ctx, binding)).To(Succeed())
		may := func(namespace, verb string) bool {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "tenant", ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "configmaps"},
			}}
			Expect(admin.Create(ctx, review)).To(Succeed())
			return review.Status.Allowed
		}
		Eventually(func() bool { return may(s.namespace, "update") }).Should(BeTrue())
		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
			Expect(may(operatorNamespace, verb)).To(BeFalse(), verb)
		}
	})

	It("costs no more writes than Running did", func() {
		s := newSite()
		const devices, commands = 40, 200
		name := func(i int) string { return fmt.Sprint("device-", i%devices) }
		for i := range devices {
			s.virtual(name(i), simulator.TemperatureController, simulator.Acknowledge())
			s.create(name(i))
		}
		for i := range devices {
			s.eventually(name(i), beReady())
			Expect(s.sim.Devices().AnswerCommand(name(i), report, simulator.CommandAnswer{Status: 200, Delay: 200 * time.Millisecond})).To(Succeed())
		}
		writesOfCommands.reset()
		var creators sync.WaitGroup
		for first := range 16 { // many at a time, as from Git
			creators.Go(func() {
				defer GinkgoRecover()
				for i := first; i < commands; i += 16 {
					s.run(fmt.Sprint("c", i), commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.DeviceRef.Name = name(i) }))
				}
			})
		}
		creators.Wait()
		for i := range commands {
			s.eventuallyCommand(fmt.Sprint("c", i), haveOutcome(v1alpha1.CommandSucceeded))
		}
		Eventually(func() *ledger.Outcome { return s.onRecord(s.getCommand(fmt.Sprint("c", commands-1))).Outcome }).ShouldNot(BeNil())
		writes := writesOfCommands.counts()
		AddReportEntry("writes of 200 commands", fmt.Sprint(writes), ReportEntryVisibilityFailureOrVerbose)
		Expect(writes["annotation"]+writes["outcome"]+writes["ledger"]).To(BeNumerically("<=", 3*commands), "annotation, Running and outcome")
		Expect(writes["annotation"]).To(And(BeNumerically(">=", commands), BeNumerically("<=", commands+commands/20)), "a few over an old state are refused")
		Expect(writes["outcome"]).To(Equal(commands))
	})
})

func encoded(entries ledger.Entries) string {
	text, err := entries.Encode()
	Expect(err).NotTo(HaveOccurred())
	return text
}
