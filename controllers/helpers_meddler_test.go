package controllers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// meddler stands between the operators of this process and the API server.
var meddler = &meddling{}

// meddling refuses what operators write to the status of the PnPDevices of a namespace.
type meddling struct {
	mu   sync.Mutex
	rule *meddlingRule
	held string // namespace whose PnPDevices keep their finalizers
}

// meddlingRule says which status patches do not arrive, or arrive without an answer.
type meddlingRule struct {
	namespace string
	onlyOnce  bool // see begin

	claimed map[string]bool
	refused map[string]int64 // newest observedGeneration that was refused, by object
}

var errMeddled = errors.New("the API server is out of reach")

// begin refuses status patches of a namespace, but for those that record a first write before it
// is sent. With onlyOnce, each object gets one such patch through, and the operator is not told.
func (m *meddling) begin(namespace string, onlyOnce bool) *meddlingRule {
	rule := &meddlingRule{namespace: namespace, onlyOnce: onlyOnce, claimed: map[string]bool{}, refused: map[string]int64{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rule = rule
	return rule
}

func (m *meddling) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rule = nil
}

// refusedGeneration is the newest observedGeneration that an operator tried to record in vain.
func (m *meddling) refusedGeneration(rule *meddlingRule, name string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return rule.refused[name]
}

// hold has the PnPDevices of a namespace keep their finalizers, "" those of none.
func (m *meddling) hold(namespace string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = namespace
}

func (m *meddling) holds(request *http.Request) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held != "" && request.Method == http.MethodPatch && !strings.HasSuffix(request.URL.Path, "/status") &&
		strings.Contains(request.URL.Path, "/namespaces/"+m.held+"/pnpdevices/")
}

func (m *meddling) hasClaimed(rule *meddlingRule, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return rule.claimed[name]
}

func (m *meddling) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if m.holds(request) {
			return nil, errMeddled
		}
		name, ok := m.meddlesWith(request)
		if !ok {
			return next.RoundTrip(request)
		}
		sent, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		passes, answers := m.judge(name, sent)
		if !passes {
			return nil, errMeddled
		}
		request = request.Clone(request.Context())
		request.Body = io.NopCloser(bytes.NewReader(sent))
		response, err := next.RoundTrip(request)
		if err == nil && !answers {
			_ = response.Body.Close()
			return nil, errMeddled
		}
		return response, err
	})
}

// meddlesWith reports whether the request writes the status of an object that the rule is about.
func (m *meddling) meddlesWith(request *http.Request) (name string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rule == nil || request.Method != http.MethodPatch {
		return "", false
	}
	name, ok = strings.CutPrefix(request.URL.Path, "/apis/iot.pnp-operator.io/v1alpha1/namespaces/"+m.rule.namespace+"/pnpdevices/")
	name, isStatus := strings.CutSuffix(name, "/status")
	return name, ok && isStatus
}

func (m *meddling) judge(name string, sent []byte) (passes, answers bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rule == nil {
		return true, true
	}
	if isClaim := bytes.Contains(sent, []byte(`"sent":{`)); isClaim && (!m.rule.onlyOnce || !m.rule.claimed[name]) {
		m.rule.claimed[name] = true
		return true, !m.rule.onlyOnce
	}
	var patch struct {
		Status struct {
			ObservedGeneration int64 `json:"observedGeneration"`
		} `json:"status"`
	}
	if json.Unmarshal(sent, &patch) == nil {
		m.rule.refused[name] = max(m.rule.refused[name], patch.Status.ObservedGeneration)
	}
	return false, false
}
