package controllers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("A hostile tenant", func() {
	It("has no right to status", func() {
		s := &site{namespace: newNamespace()}
		s.grantEditor("mallory")
		may := func(resource, subresource, verb string) bool {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "mallory", ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: s.namespace, Verb: verb, Group: v1alpha1.GroupVersion.Group, Resource: resource, Subresource: subresource,
				},
			}}
			Expect(admin.Create(ctx, review)).To(Succeed())
			return review.Status.Allowed
		}
		Eventually(func() bool { return may("pnpdevices", "", "update") }).Should(BeTrue())
		for _, resource := range []string{"iothubs", "pnpdevices", "devicecommands", "devicemodels"} {
			for _, verb := range []string{"update", "patch", "create"} {
				Expect(may(resource, "status", verb)).To(BeFalse(), verb+" "+resource+"/status")
			}
		}
	})

	It("cannot forge status with an object", func() {
		s := &site{namespace: newNamespace()}
		device := s.device("d")
		device.Status = v1alpha1.PnPDeviceStatus{Summary: "forged", Properties: []v1alpha1.PropertyStatus{{Name: "p", State: "Acknowledged", Owned: true}}}
		Expect(admin.Create(ctx, device)).To(Succeed())
		s.eventually("d", beWaiting(v1alpha1.ReasonHubNotFound))
		s.edit("d", func(d *v1alpha1.PnPDevice) { d.Status.Summary = "forged" }, annotate("x", "y"))
		Expect(s.get("d").Status).To(SatisfyAll(HaveField("Summary", Not(Equal("forged"))), HaveField("Properties", BeEmpty())))

		command := s.command("c")
		command.Status = v1alpha1.DeviceCommandStatus{Outcome: v1alpha1.CommandSucceeded, RequestID: "forged"}
		Expect(admin.Create(ctx, command)).To(Succeed())
		Expect(s.getCommand("c").Status).To(SatisfyAll(HaveField("Outcome", BeEmpty()), HaveField("RequestID", BeEmpty())))
	})

	It("finds an IoTHub in its own namespace only, whatever the name is", func() {
		rich := newSite()
		rich.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		rich.sim.Calls().Reset()
		s := &site{namespace: newNamespace()}
		for i, name := range []string{
			"hub", rich.namespace + "/hub", "../" + rich.namespace + "/hub", "..%2f" + rich.namespace + "%2fhub", rich.namespace + "%2Fhub", "..", ".", "./hub",
			rich.namespace + ":hub", "hub." + rich.namespace, "hub?namespace=" + rich.namespace, "hub#", "Hub", "hub\n", "\u202ehub", "*",
		} {
			device := s.device(fmt.Sprintf("d-%d", i), withProperties(`{"targetTemperature": 20}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) {
				spec.HubRef.Name, spec.DeviceID = name, "d"
			}))
			if err := admin.Create(ctx, device); err != nil {
				Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%q: %v", name, err)
				continue
			}
			s.eventually(device.Name, beWaiting(v1alpha1.ReasonHubNotFound))
		}
		Expect(rich.calls()).To(BeZero())
		Expect(rich.desired("d")).To(BeEmpty())
	})

	It("has no host dialled that is not allowed, inside of the cluster least of all", func() {
		s := &site{namespace: newNamespace(), sim: newHub()}
		s.createSecret(s.sim.ConnectionString("service"))
		for i, endpoint := range []string{
			"https://169.254.169.254", "https://[::ffff:169.254.169.254]", "https://[::ffff:a9fe:a9fe]", "https://10.96.0.1", "https://kubernetes.default.svc", "https://kubernetes.default.svc:443",
			"https://factory.azure-devices.net@169.254.169.254", "https://169.254.169.254#.azure-devices.net", "https://kubernetes%2edefault%2esvc", "https://factory.azure-devices.net.",
			"https://factory.azure-devices.net.evil.example", "https://evilazure-devices.net", "https://2852039166", "https://0xa9fea9fe", "https://localhost.evil.example",
		} {
			hub := s.iotHub()
			hub.Name, hub.Spec.Endpoint = fmt.Sprintf("hub-%d", i), endpoint
			if err := admin.Create(ctx, hub); err != nil {
				Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%q: %v", endpoint, err)
				continue
			}
			Eventually(func(g Gomega) {
				g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(hub), hub)).To(Succeed())
				g.Expect(hub).To(Or(beStalled(v1alpha1.ReasonHostNotAllowed), beStalled(v1alpha1.ReasonInvalidEndpoint)), endpoint)
			}).Should(Succeed())
		}
		Expect(s.sim.Calls().Total()).To(BeZero())
	})

	It("that labels, annotates, owns and finalizes its objects all the time costs the hub nothing", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "owner"}}
		Expect(admin.Create(ctx, other)).To(Succeed())
		s.sim.Calls().Reset()
		patches := s.statusPatches()
		const edits = 60
		for i := range edits {
			s.edit("d", annotate("example.com/storm", fmt.Sprint(i)), func(d *v1alpha1.PnPDevice) {
				d.Labels = map[string]string{"storm": fmt.Sprint(i)}
				d.Finalizers = []string{"example.com/foreign", fmt.Sprintf("example.com/f%d", i)}
				d.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: other.UID}}
			})
		}
		s.readNow("d")
		s.edit("d", func(d *v1alpha1.PnPDevice) { d.Finalizers, d.OwnerReferences = nil, nil })
		s.eventually("d", beReady())
		Expect(s.reads("d")).To(Equal(1), "for the one request to read")
		Expect(s.writes("d")).To(BeZero())
		Expect(patches()).To(BeNumerically("<=", edits+2+3), "its own edits among them")
	})

	It("cannot have a command sent twice, or its outcome changed, by forging the claim during its flight", func() {
		s := plant()
		Expect(s.sim.Devices().AnswerCommand("d", "thermostat1*getMaxMinReport", simulator.CommandAnswer{Status: 200, Delay: 2 * time.Second})).To(Succeed())
		s.run("c")
		Eventually(func() int { return s.ran(report) }).Should(Equal(1))
		c := s.getCommand("c")
		base := c.DeepCopy()
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationAttempt, "forged")
		Expect(admin.Patch(ctx, c, client.MergeFrom(base))).To(Succeed())
		s.eventuallyCommand("c", HaveField("Status.Outcome", Not(BeEmpty())))
		Expect(s.getCommand("c").Status.Outcome).To(BeElementOf(v1alpha1.CommandSucceeded, v1alpha1.CommandUnknown))
		Consistently(func() int { return s.ran(report) }, time.Second).Should(Equal(1))
	})
})

// grantEditor gives a user the role of config/rbac that is aggregated into edit, in the namespace.
func (s *site) grantEditor(user string) {
	GinkgoHelper()
	raw, err := os.ReadFile(filepath.Join("..", "config", "rbac", "editor_role.yaml"))
	Expect(err).NotTo(HaveOccurred())
	var editor rbacv1.ClusterRole
	Expect(yaml.Unmarshal(raw, &editor)).To(Succeed())
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: user}, Rules: editor.Rules}
	Expect(admin.Create(ctx, role)).To(Succeed())
	Expect(admin.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user}, Subjects: []rbacv1.Subject{{Kind: "User", Name: user}},
	})).To(Succeed())
}

var _ = Describe("A hostile device", func() {
	// noisy is a device all of whose reports are shown.
	noisy := func() *site {
		GinkgoHelper()
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll }))
		s.eventually("d", beReady())
		return s
	}

	for name, act := range map[string]func(s *site, n int){
		"flips between acknowledgements": func(s *site, n int) {
			acks := []string{`"ac":200,"av":2,"ad":"ok"`, `"ac":400,"av":2,"ad":"no"`, `"ac":200,"av":1,"ad":"old"`}
			s.report("d", `{"targetTemperature":{"value":20,%s}}`, acks[n%len(acks)])
		},
		"says something new each time": func(s *site, n int) {
			s.report("d", `{"targetTemperature":{"value":20,"ac":400,"av":2,"ad":"no %d"}}`, n)
		},
		"comes and goes": func(s *site, n int) {
			if n%2 == 0 {
				Expect(s.sim.Devices().Offline("d")).To(Succeed())
				return
			}
			Expect(s.sim.Devices().Online("d")).To(Succeed())
		},
	} {
		It("that "+name+" a hundred times a second costs few patches, few Events and no call", func() {
			const acts, every = 300, 10 * time.Millisecond
			s := noisy()
			s.sim.Calls().Reset()
			patches := s.statusPatches()
			tick := time.NewTicker(every)
			defer tick.Stop()
			for n := range acts {
				act(s, n)
				<-tick.C
			}
			s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"at last"}}`)
			s.eventually("d", And(beReady(), WithTransform(func(d *v1alpha1.PnPDevice) string { return property(d, "", "targetTemperature").AckDescription }, Equal("at last"))))
			Expect(patches()).To(BeNumerically("<=", 20))
			Expect(s.calls()).To(BeZero(), s.history("d"))
			var notes int
			for _, reason := range []string{v1alpha1.ReasonRejected, v1alpha1.ReasonDeviceOffline, v1alpha1.ReasonDeviceAcknowledged} {
				notes += len(s.eventNotes("d", reason))
			}
			Expect(notes).To(BeNumerically("<=", 15))
		})
	}

	It("that reports JSON of the odd kind is shown, and goes on taking what is declared", func() {
		s := newEventSite()
		s.trusted()
		odd := map[string]string{
			"tiny": `1e-400`, "negative": `-0.0`, "long": `0.1234567890123456789012345678901234567890`, "exact": `4503599627370495`, "twice": `{"a":1,"a":2}`,
			"half": `"\ud800"`, "nul": `"a\u0000b"`, "deep": `{"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}}}`, "list": `[[[[[1]]]]]`, "empty": `""`,
		}
		for name := range odd {
			s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
			s.create(name, withProperties(`{"targetTemperature": 20}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) {
				spec.Reported, spec.TwinAPI = v1alpha1.ReportedAll, v1alpha1.TwinAPIDeviceTwin // digital twins do not take all of it
			}))
		}
		for name, value := range odd {
			s.eventually(name, beReady())
			s.report(name, `{"odd":%s}`, value)
			s.eventually(name, WithTransform(func(d *v1alpha1.PnPDevice) bool { return property(d, "", "odd").Reported != nil }, BeTrue()))
		}
		s.sim.Calls().Reset()
		for name := range odd {
			s.edit(name, withProperties(`{"targetTemperature": 21, "fanSpeed": 3}`))
		}
		for name, value := range odd {
			Eventually(func() map[string]any { return s.desired(name) }).Should(Equal(map[string]any{"targetTemperature": 21.0, "fanSpeed": 3.0}), func() string {
				return fmt.Sprintf("after %s: %+v\n%s", value, s.get(name).Status, s.history(name))
			})
			s.eventually(name, beReady())
			Expect(s.writes(name)).To(BeNumerically("<=", 2), s.history(name))
			Expect(s.reads(name)).To(BeNumerically("<=", 1), s.history(name))
		}
	})
})
