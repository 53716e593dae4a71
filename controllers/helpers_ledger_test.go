package controllers_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
)

// ledgerOf is the ConfigMap that has the record of a command.
func (s *site) ledgerOf(c *v1alpha1.DeviceCommand) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: controllers.LedgerName(c)}}
}

// onRecord is what the ledger has of a command, nil if nothing.
func (s *site) onRecord(c *v1alpha1.DeviceCommand) *ledger.Entry {
	GinkgoHelper()
	m := s.ledgerOf(c)
	if client.IgnoreNotFound(admin.Get(ctx, client.ObjectKeyFromObject(m), m)) != nil || m.Data == nil {
		return nil
	}
	entries, err := ledger.Decode(m.Data[controllers.LedgerKey])
	Expect(err).NotTo(HaveOccurred())
	if e, ok := entries[ledger.KeyOf(c)]; ok {
		return &e
	}
	return nil
}

// putOnRecord has the ledger hold these entries, and no others. No operator may run.
func (s *site) putOnRecord(c *v1alpha1.DeviceCommand, entries ledger.Entries) {
	GinkgoHelper()
	text, err := entries.Encode()
	Expect(err).NotTo(HaveOccurred())
	s.putText(c, text)
}

func (s *site) putText(c *v1alpha1.DeviceCommand, text string) {
	GinkgoHelper()
	m := s.ledgerOf(c)
	Expect(client.IgnoreNotFound(admin.Delete(ctx, m))).To(Succeed())
	m = s.ledgerOf(c)
	m.Data = map[string]string{controllers.LedgerKey: text}
	Expect(admin.Create(ctx, m)).To(Succeed())
	DeferCleanup(func() { Expect(client.IgnoreNotFound(admin.Delete(ctx, s.ledgerOf(c)))).To(Succeed()) })
}

// loseLedger is what another cluster looks like. No operator may run.
func (s *site) loseLedger() {
	GinkgoHelper()
	var list corev1.ConfigMapList
	Expect(admin.List(ctx, &list, client.InNamespace(operatorNamespace))).To(Succeed())
	for i := range list.Items {
		if strings.HasPrefix(list.Items[i].Name, "commands."+s.namespace+".") {
			Expect(admin.Delete(ctx, &list.Items[i])).To(Succeed())
		}
	}
}

// strip is a backup without the operator's annotation, as Flux leaves it.
func strip(c *v1alpha1.DeviceCommand) *v1alpha1.DeviceCommand {
	kept := backup(c)
	delete(kept.Annotations, v1alpha1.AnnotationAttempt)
	return kept
}

// flux applies an object as kustomize-controller does: it takes over what managers have set whose
// names begin with kubectl, and then applies what Git has, which removes what else was its own.
func flux(live client.Object, git string) {
	GinkgoHelper()
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(live), live)).To(Succeed())
	managers := live.GetManagedFields()
	for i := range managers {
		if strings.HasPrefix(managers[i].Manager, "kubectl") {
			managers[i].Manager, managers[i].Operation = "kustomize-controller", metav1.ManagedFieldsOperationApply
		}
	}
	raw, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/metadata/managedFields", "value": managers}})
	Expect(err).NotTo(HaveOccurred())
	Expect(admin.Patch(ctx, live, client.RawPatch(types.JSONPatchType, raw))).To(Succeed())
	out, err := kubectl(git, "apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller", "-f", "-")
	Expect(err).NotTo(HaveOccurred(), out)
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(live), live)).To(Succeed())
}

// writesOfCommands counts what operators write of DeviceCommands and their record.
var writesOfCommands = &writeCount{n: map[string]int{}}

type writeCount struct {
	mu sync.Mutex
	n  map[string]int
}

func (w *writeCount) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		kind := writtenKind(r)
		response, err := next.RoundTrip(r)
		if kind != "" && err == nil && response.StatusCode < http.StatusBadRequest {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.n[kind]++
		}
		return response, err
	})
}

// reset begins to count anew.
func (w *writeCount) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n = map[string]int{}
}

func (w *writeCount) counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.n)
}

func writtenKind(r *http.Request) string {
	switch {
	case r.Method == http.MethodGet:
		return ""
	case strings.Contains(r.URL.Path, "/configmaps") && !strings.Contains(r.URL.Path, "/checkpoint-"):
		return "ledger"
	case !strings.Contains(r.URL.Path, "/devicecommands/"):
		return ""
	case strings.HasSuffix(r.URL.Path, "/status"):
		return statusKind(r)
	}
	return "annotation"
}

// statusKind tells outcomes from what commands say while they wait, which they did before.
func statusKind(r *http.Request) string {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return "unread"
	}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	switch {
	case bytes.Contains(sent, []byte(`"outcome":"`)):
		return "outcome"
	case bytes.Contains(sent, []byte(`"reason":"Queued"`)):
		return "queued"
	}
	return "ledger" // Running, for one, counts as one more
}
