package controllers_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/entra"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// identityTenant is the directory of all identities here.
const identityTenant = "72f988bf-0000-0000-0000-000000000001"

// account is the ServiceAccount that config/tenant/workload-identity names.
const account = "iot"

// Roles that the operator needs.
const (
	hubRole   = "IoT Hub Data Contributor"
	eventRole = "Azure Event Hubs Data Receiver"
)

// startAuthority runs a Microsoft Entra ID that checks assertions with the keys that the API server publishes.
func startAuthority() {
	clients, err := kubernetes.NewForConfig(environment.Config)
	Expect(err).NotTo(HaveOccurred())
	authority, err = simulator.StartEntra(ctx, simulator.EntraOptions{Keys: func(ctx context.Context, _ string) ([]byte, error) {
		return clients.Discovery().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(ctx)
	}})
	Expect(err).NotTo(HaveOccurred())
}

// issuer is what the API server puts into tokens.
func issuer() string {
	GinkgoHelper()
	document := struct {
		Issuer string `json:"issuer"`
	}{}
	clients, err := kubernetes.NewForConfig(environment.Config)
	Expect(err).NotTo(HaveOccurred())
	raw, err := clients.Discovery().RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(json.Unmarshal(raw, &document)).To(Succeed())
	return document.Issuer
}

// identitySite is a site whose IoTHub authenticates as the ServiceAccount "iot" of its namespace. Nothing that it needs is there yet.
type identitySite struct {
	*site

	clientID string
}

func newBareIdentitySite() *identitySite {
	GinkgoHelper()
	return &identitySite{&site{namespace: newForeignNamespace(), sim: newHub()}, uuid.NewString()}
}

// newIdentitySite has all that is needed, and is Ready.
func newIdentitySite(edits ...func(*v1alpha1.IoTHub)) *identitySite {
	GinkgoHelper()
	s := newBareIdentitySite()
	s.grantToken()
	s.createAccount()
	s.federate()
	s.createHub(edits...)
	s.eventuallyHub(beReady())
	return s
}

// identityHub is an IoTHub for the identity.
func (s *identitySite) identityHub(edits ...func(*v1alpha1.IoTHub)) *v1alpha1.IoTHub {
	h := s.iotHub()
	h.Spec.Authentication = v1alpha1.HubAuthentication{
		WorkloadIdentity: &v1alpha1.WorkloadIdentity{ClientID: s.clientID, TenantID: identityTenant, ServiceAccountName: account},
	}
	for _, edit := range edits {
		edit(h)
	}
	return h
}

func (s *identitySite) createHub(edits ...func(*v1alpha1.IoTHub)) {
	GinkgoHelper()
	Expect(admin.Create(ctx, s.identityHub(edits...))).To(Succeed())
}

func (s *identitySite) createAccount() {
	GinkgoHelper()
	Expect(admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: account}})).To(Succeed())
}

// grantToken applies config/tenant/workload-identity.
func (s *identitySite) grantToken() {
	GinkgoHelper()
	role, binding := &rbacv1.Role{}, &rbacv1.RoleBinding{}
	readDocuments(filepath.Join("..", "config", "tenant", "workload-identity", "role.yaml"), role, binding)
	for _, o := range []client.Object{role, binding} {
		o.SetNamespace(s.namespace)
		Expect(admin.Create(ctx, o)).To(Succeed())
	}
	Eventually(func() bool { return mayMakeToken(s.namespace, account) }).Should(BeTrue())
}

// federate has the identity trust the ServiceAccount, with the roles that are needed.
func (s *identitySite) federate(edits ...func(*simulator.EntraApplication)) {
	app := simulator.EntraApplication{
		TenantID: identityTenant, ClientID: s.clientID, Roles: []string{hubRole, eventRole},
		Federated: []simulator.Federated{{Issuer: issuer(), Subject: "system:serviceaccount:" + s.namespace + ":" + account, Audience: entra.Audience}},
	}
	for _, edit := range edits {
		edit(&app)
	}
	authority.Register(app)
	DeferCleanup(func() { authority.Remove(s.clientID) })
}

// withEvents has the IoTHub read an event hub with its identity.
func (s *identitySite) withEvents(h *v1alpha1.IoTHub) {
	h.Spec.Events = &v1alpha1.EventSource{
		EventHub: &v1alpha1.EventHub{FullyQualifiedNamespace: s.sim.EventHubNamespace(), Name: s.sim.EventHubName()},
		Endpoint: s.sim.EventsAddress(), CABundle: string(s.sim.CAPEM()),
	}
}

// tryNow has the IoTHub tried at once.
func (s *identitySite) tryNow() {
	GinkgoHelper()
	s.editHub(annotateHub(v1alpha1.AnnotationReconcileRequestedAt, uuid.NewString()))
}

// asked is how often the identity asked for tokens, and got one.
func (s *identitySite) asked() (asked, issued int) { return authority.Asked(s.clientID) }

// failing has the authority fail until the spec ends.
func failing(f simulator.EntraFault) {
	authority.Fail(f)
	DeferCleanup(func() { authority.Fail(simulator.EntraNone) })
}

// shortLived has tokens live that long until the spec ends.
func shortLived(d time.Duration) {
	authority.Lifetime(d)
	DeferCleanup(func() { authority.Lifetime(0) })
}
