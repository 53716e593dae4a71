package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// wrongObject names a component twice, which only the webhook refuses, and with a message of its own.
const wrongObject = `{"apiVersion": "iot.pnp-operator.io/v1alpha1", "kind": "DeviceModel", "metadata": {"name": "wrong", "namespace": "default"},
"spec": {"dtdl": "{\"@id\": \"dtmi:com:example:Wrong;1\", \"@type\": \"Nothing\", \"@context\": \"dtmi:dtdl:context;2\"}"}}`

// clientWithin is an HTTP client whose connections begin in node 1. Without settings it checks nothing.
func (s *realCluster) clientWithin(settings *tls.Config) *http.Client {
	if settings == nil {
		settings = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // of a certificate that nobody can check
	}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: settings, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.Machinery.Dial(ctx, 1, network, address)
		},
	}}
}

// administrator is the TLS settings of an administrator's client.
func (s *realCluster) administrator() (*tls.Config, error) {
	file := func(name string) string { return filepath.Join(s.Dir, "pki", name) }
	pair, err := tls.LoadX509KeyPair(file("admin.crt"), file("admin.key"))
	if err != nil {
		return nil, fmt.Errorf("reading the administrator's certificate: %w", err)
	}
	ca, err := os.ReadFile(file("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// refuses waits until the webhook judges: the API server hears of it a moment after the release is installed.
func (s *realCluster) refuses(ctx context.Context) error {
	said := ""
	late := func() error { return harness.Missed("a wrong DeviceModel", "refused by the webhook", said) }
	if err := harness.PollEvery(ctx, 200*time.Millisecond, 20*time.Second, late, func(ctx context.Context) (bool, error) {
		_, err := s.Kubectl.Output(ctx, wrongObject, "create", "--dry-run=server", "-f", "-")
		said = fmt.Sprint(err)
		return err != nil && strings.Contains(said, "devicemodels.iot.pnp-operator.io") && strings.Contains(said, "denied"), nil
	}); err != nil {
		return err
	}
	s.Out.Passf("the webhook refuses a wrong object")
	return nil
}

// hammering posts a wrong object again and again, as a dry run, and counts the answers.
type hammering struct {
	end     context.CancelFunc
	workers sync.WaitGroup
	mu      sync.Mutex
	counts  map[string]int
	slowest time.Duration
}

// hammer begins to post.
func (s *realCluster) hammer() *hammering {
	ctx, end := context.WithCancel(context.Background())
	h := &hammering{end: end, counts: map[string]int{}}
	settings, err := s.administrator()
	if err != nil {
		h.counts[err.Error()]++
		return h
	}
	client := s.clientWithin(settings)
	for range 4 {
		h.workers.Go(func() {
			for ctx.Err() == nil {
				h.post(ctx, client)
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	return h
}

func (h *hammering) post(ctx context.Context, client *http.Client) {
	began := time.Now()
	status, err := postWrong(ctx, client)
	if ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		status = err.Error()
	}
	h.counts[status]++
	h.slowest = max(h.slowest, time.Since(began))
}

func postWrong(ctx context.Context, client *http.Client) (string, error) {
	url := cluster.Server + "/apis/iot.pnp-operator.io/v1alpha1/namespaces/default/devicemodels?dryRun=All"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(wrongObject))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.Status, err
}

// stop ends it and returns the counts.
func (h *hammering) stop() *hammering {
	h.end()
	h.workers.Wait()
	return h
}

func (h *hammering) String() string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(h.counts)) {
		parts = append(parts, fmt.Sprintf("%d times %s", h.counts[status], status))
	}
	return fmt.Sprintf("%s; the slowest %.1f s", strings.Join(parts, ", "), h.slowest.Seconds())
}

// letIn wants that a hammer was refused each time.
func (s *realCluster) letIn(h *hammering, when string) error {
	refused := h.counts["403 Forbidden"]
	if refused > 0 && len(h.counts) == 1 {
		return s.Check("wrong objects "+when, "all refused with 403", h.String(), true)
	}
	return harness.Missed("wrong objects "+when, "all refused with 403", h.String()+"; the API server says of it:\n"+s.failedOpen())
}

// failedOpen is what the API server said last of a webhook that did not answer, so that objects went through.
func (s *realCluster) failedOpen() string {
	text, err := os.ReadFile(s.File("node-1/kube-apiserver.log"))
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "failing open") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// rollouts replaces all pods, twice, while wrong objects come.
func (s *realCluster) rollouts(ctx context.Context) error {
	if err := s.refuses(ctx); err != nil {
		return err
	}
	for range 2 {
		h := s.hammer()
		err := s.restart(ctx)
		if err := firstOf(err, s.letIn(h.stop(), "during a rollout")); err != nil {
			return err
		}
		if err := s.soonReady(ctx); err != nil {
			return err
		}
	}
	return s.spread(ctx)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// restart replaces all pods, and waits until those of before are gone.
func (s *realCluster) restart(ctx context.Context) error {
	before, err := s.pods(ctx, harness.OperatorNamespace, "pnp-operator")
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := s.Kubectl.Output(ctx, "", "rollout", "restart", "deployment/pnp-operator", "-n", harness.OperatorNamespace); err != nil {
		return err
	}
	if _, err := s.Kubectl.Output(ctx, "", "rollout", "status", "deployment/pnp-operator", "-n", harness.OperatorNamespace, "--timeout=90s"); err != nil {
		return err
	}
	ready := time.Since(began)
	for _, pod := range before {
		if _, err := s.Kubectl.Output(ctx, "", "wait", "--for=delete", "pod/"+pod.Name, "-n", harness.OperatorNamespace, "--timeout=60s"); err != nil {
			return err
		}
	}
	s.Out.Passf("a rollout is ready after %.1f s, and the pods of before are gone after %.1f s", ready.Seconds(), time.Since(began).Seconds())
	return nil
}
