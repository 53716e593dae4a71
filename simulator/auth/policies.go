package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Right is what a policy may grant.
type Right uint8

// The rights of "Control access to IoT Hub": twins, digital twins and queries need ServiceConnect, identities need
// RegistryRead or RegistryWrite.
const (
	RegistryRead Right = 1 << iota
	RegistryWrite
	ServiceConnect
	DeviceConnect
	// Listen and Send are rights of an Event Hubs namespace. A hub's own policies have neither: there ServiceConnect is both.
	Listen
	Send
)

// Policy is one shared access policy of the hub.
type Policy struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Disabled bool   `json:"disabled"`
	rights   Right
}

// MayListen reports whether the policy grants reading the event hub.
func (p Policy) MayListen() bool { return p.rights&(ServiceConnect|Listen) != 0 }

// MaySend reports whether the policy grants sending to the event hub.
func (p Policy) MaySend() bool { return p.rights&(ServiceConnect|Send) != 0 }

// Policies is the hub's shared access policies: those that every hub is created with, and what Add adds.
type Policies struct {
	mu     sync.Mutex
	newKey func() string
	list   []*Policy
}

// NewPolicies returns the default policies with keys from newKey.
func NewPolicies(newKey func() string) *Policies {
	p := &Policies{newKey: newKey}
	p.add("iothubowner", RegistryRead|RegistryWrite|ServiceConnect|DeviceConnect)
	p.add("service", ServiceConnect)
	p.add("device", DeviceConnect)
	p.add("registryRead", RegistryRead)
	p.add("registryReadWrite", RegistryRead|RegistryWrite)
	return p
}

// Add makes another policy, with a new key. Names are not repeated.
func (p *Policies) Add(name string, rights Right) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index(name) >= 0 {
		return fmt.Errorf("policy %q exists", name)
	}
	p.add(name, rights)
	return nil
}

func (p *Policies) add(name string, rights Right) {
	p.list = append(p.list, &Policy{Name: name, Key: p.newKey(), rights: rights})
}

// Disable makes the hub refuse a policy's tokens.
func (p *Policies) Disable(name string) error {
	return p.edit(name, func(policy *Policy) { policy.Disabled = true })
}

// Enable ends Disable.
func (p *Policies) Enable(name string) error {
	return p.edit(name, func(policy *Policy) { policy.Disabled = false })
}

// Rekey gives a policy a new key: tokens and connection strings made with the old one are refused from now on.
func (p *Policies) Rekey(name string) error {
	return p.edit(name, func(policy *Policy) { policy.Key = p.newKey() })
}

// SetKey gives a policy a key that is known beforehand: base64 of 16 to 64 bytes, as a hub wants it.
func (p *Policies) SetKey(name, key string) error {
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) < 16 || len(raw) > 64 {
		return fmt.Errorf("the key of policy %q is not 16 to 64 bytes in base64", name)
	}
	return p.edit(name, func(policy *Policy) { policy.Key = key })
}

// Get returns a policy.
func (p *Policies) Get(name string) (Policy, bool) {
	var found Policy
	err := p.edit(name, func(policy *Policy) { found = *policy })
	return found, err == nil
}

// List returns all policies.
func (p *Policies) List() []Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Policy, 0, len(p.list))
	for _, policy := range p.list {
		out = append(out, *policy)
	}
	return out
}

func (p *Policies) edit(name string, f func(*Policy)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.index(name)
	if i < 0 {
		return fmt.Errorf("no policy %q", name)
	}
	f(p.list[i])
	return nil
}

// index of a policy, -1 if there is none. p.mu is held.
func (p *Policies) index(name string) int {
	return slices.IndexFunc(p.list, func(policy *Policy) bool { return policy.Name == name })
}

// Errors of Authorize.
var (
	ErrMissing = errors.New("the Authorization header is missing")
	ErrInvalid = errors.New("the token is invalid")
	ErrDenied  = errors.New("the policy does not allow this")
)

// Authorize checks the token of an Authorization header: signature, expiry, that it is for the resource ("host/path"), and
// that its policy is enabled and grants one of the wanted rights.
func (p *Policies) Authorize(header, resource string, want Right, now time.Time) error {
	if header == "" {
		return ErrMissing
	}
	t, err := Parse(header)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	policy, ok := p.Get(t.Policy)
	if !ok || policy.Disabled {
		return fmt.Errorf("%w: no policy %q", ErrInvalid, t.Policy)
	}
	if err := t.Verify(policy.Key, now); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !t.Covers(resource) {
		return fmt.Errorf("%w: it is not for %q", ErrInvalid, resource)
	}
	if policy.rights&want == 0 {
		return ErrDenied
	}
	return nil
}
