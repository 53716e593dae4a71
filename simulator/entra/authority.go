// Package entra is as much of Microsoft Entra ID as a workload identity meets: the token endpoint, which exchanges the assertion of a federated credential
// for an access token after it has checked signature, issuer, subject, audience and times, and answers with the errors of the real one.
package entra

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"
)

// Resources that tokens are issued for.
const (
	ResourceHub   = "https://iothubs.azure.net"
	ResourceHubUS = "https://iothubs.azure.us"
	// ResourceEventHubs is asked for with and without a slash at its end.
	ResourceEventHubs = "https://eventhubs.azure.net"
)

// lifetime of a token is between 60 and 90 minutes at the real one.
const lifetime = time.Hour

// Federated is a federated identity credential: whose tokens an application trusts.
type Federated struct {
	Issuer, Subject, Audience string
}

// Application is an application or managed identity with what it was assigned.
type Application struct {
	TenantID, ClientID string
	Federated          []Federated
	// Roles by their names in Azure.
	Roles []string
}

// Options of an Authority.
type Options struct {
	// Keys returns the JSON Web Key Set of an issuer.
	Keys func(ctx context.Context, issuer string) ([]byte, error)
	// Clock dates and judges tokens; default time.Now.
	Clock func() time.Time
}

// Authority issues and verifies tokens. It is an http.Handler, and safe for concurrent use.
type Authority struct {
	keys  func(ctx context.Context, issuer string) ([]byte, error)
	clock func() time.Time
	key   *ecdsa.PrivateKey

	mu           sync.Mutex
	applications []Application
	fault        Fault
	latency      time.Duration
	lifetime     time.Duration
	asked        map[string]int // by client
	issued       map[string]int // by client
}

// New returns an authority without applications.
func New(o Options) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Authority{keys: o.Keys, clock: o.Clock, key: key, asked: map[string]int{}, issued: map[string]int{}}, nil
}

// Register adds an application, or replaces the one with its client ID.
func (a *Authority) Register(app Application) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(app.ClientID)
	a.applications = append(a.applications, app)
}

// Remove takes an application away. Its tokens are worth nothing from then on.
func (a *Authority) Remove(clientID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(clientID)
}

func (a *Authority) remove(clientID string) {
	a.applications = slices.DeleteFunc(a.applications, func(app Application) bool { return strings.EqualFold(app.ClientID, clientID) })
}

func (a *Authority) application(clientID string) (Application, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.applications, func(app Application) bool { return strings.EqualFold(app.ClientID, clientID) })
	if i < 0 {
		return Application{}, false
	}
	return a.applications[i], true
}

func (a *Authority) hasTenant(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.applications, func(app Application) bool { return strings.EqualFold(app.TenantID, id) })
}

// Fault is how the authority fails.
type Fault string

const (
	// None is no failure.
	None Fault = ""
	// Down answers 503, as when it is overloaded.
	Down Fault = "Down"
	// HTML answers with a page of a proxy and 200.
	HTML Fault = "HTML"
	// Hang takes requests and never answers.
	Hang Fault = "Hang"
	// Redirect sends to another host.
	Redirect Fault = "Redirect"
	// Elsewhere names a token endpoint at another host.
	Elsewhere Fault = "Elsewhere"
)

// Fail has every request fail until it is told otherwise.
func (a *Authority) Fail(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = f
}

// Slow delays every answer.
func (a *Authority) Slow(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.latency = d
}

// Lifetime of tokens that are issued from now on, 0 is an hour.
func (a *Authority) Lifetime(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lifetime = d
}

// Asked is how many times a client asked for a token, and Issued how many it got.
func (a *Authority) Asked(clientID string) (asked, issued int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[clientID], a.issued[clientID]
}

func (a *Authority) knobs() (Fault, time.Duration, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fault, a.latency, cmp.Or(a.lifetime, lifetime)
}

func (a *Authority) count(in map[string]int, clientID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in[clientID]++
}
