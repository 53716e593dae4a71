package auth

import (
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
)

// Policy is one shared access policy of the hub.
type Policy struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Disabled bool   `json:"disabled"`
	rights   Right
}

// MayConnect reports whether the policy grants ServiceConnect, which is also the right to use the event hub.
func (p Policy) MayConnect() bool { return p.rights&ServiceConnect != 0 }

// Policies is the hub's shared access policies, those that every hub is created with.
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
	i := slices.IndexFunc(p.list, func(policy *Policy) bool { return policy.Name == name })
	if i < 0 {
		return fmt.Errorf("no policy %q", name)
	}
	f(p.list[i])
	return nil
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
