package controllers_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// requests are those that the operator made for Secrets and ServiceAccounts.
var requests = &requestLog{}

// requestLog keeps the URLs of requests for Secrets and ServiceAccounts, and what lists and watches brought.
type requestLog struct {
	mu     sync.Mutex
	urls   []string
	bodies []*body
}

// body is what one list or watch brings.
type body struct {
	io.ReadCloser
	log    *requestLog
	url    string
	text   bytes.Buffer
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	b.text.Write(p[:n])
	b.closed = b.closed || err != nil
	return n, err
}

func (b *body) Close() error {
	b.log.mu.Lock()
	b.closed = true
	b.log.mu.Unlock()
	return b.ReadCloser.Close()
}

// wrap records what goes through a transport.
func (l *requestLog) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if !strings.Contains(request.URL.Path, "/secrets") && !strings.Contains(request.URL.Path, "/serviceaccounts") {
			return next.RoundTrip(request)
		}
		l.mu.Lock()
		l.urls = append(l.urls, request.URL.RequestURI())
		l.mu.Unlock()
		response, err := next.RoundTrip(request)
		if err == nil && request.URL.RawQuery != "" {
			b := &body{ReadCloser: response.Body, log: l, url: request.URL.RequestURI()}
			l.mu.Lock()
			l.bodies = append(l.bodies, b)
			l.mu.Unlock()
			response.Body = b
		}
		return response, err
	})
}

// openWatches counts those on Secrets of a namespace.
func (l *requestLog) openWatches(namespace string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, b := range l.bodies {
		if !b.closed && strings.Contains(b.url, "/"+namespace+"/") && strings.Contains(b.url, "watch=") {
			n++
		}
	}
	return n
}

// received is what lists and watches of a namespace's Secrets brought.
func (l *requestLog) received(namespace string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all strings.Builder
	for _, b := range l.bodies {
		if strings.Contains(b.url, "/"+namespace+"/") {
			all.Write(b.text.Bytes())
		}
	}
	return all.String()
}

// about lists the requests whose URL contains all of the texts.
func (l *requestLog) about(texts ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, url := range l.urls {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(url, text)
		}
		if all {
			found = append(found, url)
		}
	}
	return found
}

// createForeign makes Secrets of a kilobyte that nobody refers to, as fast as the API server takes them.
func (s *site) createForeign(n int) {
	GinkgoHelper()
	var makers errgroup.Group
	makers.SetLimit(32)
	for i := range n {
		makers.Go(func() error {
			return admin.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: fmt.Sprintf("foreign-%d", i)},
				Data:       map[string][]byte{"x": bytes.Repeat([]byte("x"), 1024)},
			})
		})
	}
	Expect(makers.Wait()).To(Succeed())
}

// liveHeap is what this process, which the operator is part of, holds in memory.
func liveHeap() int {
	runtime.GC()
	runtime.GC() // what pools held until the first one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// byName is a request for one Secret, or for a list or watch that holds no other.
var byName = regexp.MustCompile(`^/api/v1/namespaces/[^/]+/secrets(/[^/?]+$|\?.*fieldSelector=metadata\.name%3D[^&]+)`)

// oneToken is a request for a token of one ServiceAccount.
var oneToken = regexp.MustCompile(`^/api/v1/namespaces/[^/]+/serviceaccounts/[^/]+/token$`)

// grantTenant applies config/tenant to a namespace, and waits until the API server knows.
func grantTenant(namespace string) {
	GinkgoHelper()
	role, binding := &rbacv1.Role{}, &rbacv1.RoleBinding{}
	readDocuments(filepath.Join("..", "config", "tenant", "role.yaml"), role, binding)
	for _, o := range []client.Object{role, binding} {
		o.SetNamespace(namespace)
		Expect(admin.Create(ctx, o)).To(Succeed())
	}
	Eventually(func() bool { return mayRead(namespace) }).Should(BeTrue())
}

// mayRead asks whether the operator may read a namespace's Secrets, or with "" those of all.
func mayRead(namespace string) bool {
	GinkgoHelper()
	return operatorMay(authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "watch", Resource: "secrets"})
}

func mayMakeToken(namespace, account string) bool {
	GinkgoHelper()
	return operatorMay(authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "create", Resource: "serviceaccounts", Subresource: "token", Name: account})
}

func operatorMay(what authorizationv1.ResourceAttributes) bool {
	GinkgoHelper()
	return userMay(operatorUser, what)
}

func userMay(user string, what authorizationv1.ResourceAttributes) bool {
	GinkgoHelper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: []string{"system:authenticated"},
		ResourceAttributes: &what,
	}}
	Expect(admin.Create(ctx, review)).To(Succeed())
	return review.Status.Allowed
}

// readDocuments decodes a file of YAML documents into as many objects.
func readDocuments(path string, into ...client.Object) {
	GinkgoHelper()
	raw, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred())
	documents := strings.Split(string(raw), "\n---\n")
	Expect(documents).To(HaveLen(len(into)))
	for i, document := range documents {
		Expect(yaml.UnmarshalStrict([]byte(document), into[i])).To(Succeed())
	}
}
