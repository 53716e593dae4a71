package hub

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// deviceIDs is the alphabet of "Identity registry", device identity properties.
var deviceIDs = regexp.MustCompile(`^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}$`)

// thumbprints are hex without separators: SHA-1 or SHA-256.
var thumbprints = regexp.MustCompile(`^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$`)

const maxStatusReason = 128

// PutIdentity creates or updates an identity. Without If-Match (nil or empty) it only creates, with one it only updates.
func (h *Hub) PutIdentity(id string, body jsontree.Object, ifMatch string) (Identity, error) {
	want, err := h.parseIdentity(id, body)
	if err != nil {
		return Identity{}, err
	}
	if tag(ifMatch) == "" {
		return h.createIdentity(want, func(at time.Time) time.Time { return at })
	}
	t, err := h.update(id, func(t *Twin, at time.Time) (*Twin, Change, error) { return h.updateIdentity(t, want, ifMatch, at) })
	if err != nil {
		return Identity{}, err
	}
	return t.Identity, nil
}

// createIdentity creates a device. updated says when its twin was last updated, given when it was created.
func (h *Hub) createIdentity(want Identity, updated func(time.Time) time.Time) (Identity, error) {
	t := h.createTwin(want, updated)
	if t == nil {
		return Identity{}, refuse(409, "DeviceAlreadyExists", 409001,
			"A device with ID '%s' is already registered.", want.DeviceID)
	}
	if want.IotEdge {
		return t.Identity, h.createSystemModules(want.DeviceID)
	}
	return t.Identity, nil
}

// createTwin stores an identity with a fresh twin and returns it, or nil if there is one.
func (h *Hub) createTwin(want Identity, updated func(time.Time) time.Time) *Twin {
	return h.create(ModuleKey(want.DeviceID, want.ModuleID), func(at time.Time) *Twin {
		want.GenerationID, want.ETag = h.nextGeneration(at), h.nextETag()
		return newTwin(want, updated(at))
	})
}

func (h *Hub) updateIdentity(t *Twin, want Identity, ifMatch string, at time.Time) (*Twin, Change, error) {
	if err := matchTag(ifMatch, t.Identity.ETag); err != nil {
		return t, Change{}, err
	}
	was := t.Identity
	want.GenerationID, want.ETag = was.GenerationID, h.nextETag()
	want.StatusUpdated = was.StatusUpdated
	if want.Disabled != was.Disabled {
		want.StatusUpdated = at
	}
	want.Connected, want.ConnectedUpdated, want.LastActivity = was.Connected && !want.Disabled, was.ConnectedUpdated, was.LastActivity
	next := *t
	next.Identity = want
	return &next, Change{Kind: IdentityUpdated}, nil
}

// DeleteIdentity deletes a device with its twin and its modules, or a module. The service demands an If-Match.
func (h *Hub) DeleteIdentity(id, ifMatch string) error {
	_, err := h.update(id, func(t *Twin, _ time.Time) (*Twin, Change, error) {
		if tag(ifMatch) == "" {
			return t, Change{}, preconditionFailed("Precondition failed: Etag missing")
		}
		if err := matchTag(ifMatch, t.Identity.ETag); err != nil {
			return t, Change{}, err
		}
		return nil, Change{Kind: Deleted}, h.deleteModulesOf(t.Identity)
	})
	if err == nil {
		h.drop(id)
	}
	return err
}

// tag strips an If-Match value of its quotes.
func tag(ifMatch string) string {
	return strings.Trim(strings.TrimSpace(ifMatch), `"`)
}

// matchTag compares an If-Match value with an etag. Quotes are optional, and "*", which Node and .NET send quoted, as
// well as an absent value match everything.
func matchTag(ifMatch, etag string) error {
	want := tag(ifMatch)
	if want == "" || want == "*" || want == etag {
		return nil
	}
	return preconditionFailed("Precondition failed: Device version did not match, existingVersion:%s newVersion:%s",
		etagNumber(etag), etagNumber(want))
}

func (h *Hub) parseIdentity(id string, body jsontree.Object) (Identity, error) {
	if !deviceIDs.MatchString(id) {
		return Identity{}, argumentInvalid("The device id %q is invalid", id)
	}
	if inBody, _ := body.Get("deviceId"); inBody != id {
		return Identity{}, argumentInvalid("The device id of the body must be %q", id)
	}
	reason, _ := text(body, "statusReason")
	if len(reason) > maxStatusReason {
		return Identity{}, argumentInvalid("statusReason is longer than %d", maxStatusReason)
	}
	status, _ := text(body, "status")
	if !slices.Contains([]string{"", "enabled", "disabled"}, strings.ToLower(status)) {
		return Identity{}, argumentInvalid("The status %q is invalid", status)
	}
	a, err := h.parseAuthentication(body.Object("authentication"))
	if err != nil {
		return Identity{}, err
	}
	edge, _ := body.Object("capabilities").Get("iotEdge")
	i := Identity{
		DeviceID: id, Disabled: strings.EqualFold(status, "disabled"), StatusReason: reason,
		Authentication: a, IotEdge: edge == true,
	}
	return h.withScopes(i, body)
}

// withScopes reads of which edge devices an identity is a child. An edge device says so by parentScopes, any other device by
// deviceScope, which the hub copies to parentScopes.
func (h *Hub) withScopes(i Identity, body jsontree.Object) (Identity, error) {
	if !i.IotEdge {
		i.Scope, _ = text(body, "deviceScope")
		return i, h.checkScope(i.Scope)
	}
	parents, _ := body.Get("parentScopes")
	list, _ := parents.([]any)
	for _, v := range list {
		scope, _ := v.(string)
		if err := h.checkScope(scope); err != nil {
			return i, err
		}
		i.ParentScopes = append(i.ParentScopes, scope)
	}
	return i, nil
}

// checkScope refuses a scope that is none of an edge device of this hub; that the service does so is inferred.
func (h *Hub) checkScope(scope string) error {
	if scope == "" {
		return nil
	}
	rest, _ := strings.CutPrefix(scope, scopePrefix)
	if end := strings.LastIndex(rest, "-"); end > 0 {
		if t, err := h.Get(rest[:end]); err == nil && t.Identity.IotEdge && t.Identity.DeviceScope() == scope {
			return nil
		}
	}
	return argumentInvalid("The scope %q is not that of an edge device of this hub", scope)
}

func text(o jsontree.Object, name string) (string, bool) {
	v, _ := o.Get(name)
	s, ok := v.(string)
	return s, ok
}

func (h *Hub) parseAuthentication(o jsontree.Object) (Authentication, error) {
	a := Authentication{Type: "sas"}
	if t, ok := text(o, "type"); ok {
		a.Type = t
	}
	a.PrimaryKey, _ = text(o.Object("symmetricKey"), "primaryKey")
	a.SecondaryKey, _ = text(o.Object("symmetricKey"), "secondaryKey")
	a.PrimaryThumbprint, _ = text(o.Object("x509Thumbprint"), "primaryThumbprint")
	a.SecondaryThumbprint, _ = text(o.Object("x509Thumbprint"), "secondaryThumbprint")
	switch a.Type {
	case "sas":
		return h.parseKeys(a)
	case "selfSigned":
		return parseThumbprints(a)
	case "certificateAuthority":
		return Authentication{Type: a.Type}, nil
	}
	return a, argumentInvalid("The authentication type %q is invalid for a device", a.Type)
}

// parseKeys generates keys where none are given, also on update: a PUT without authentication mints new ones.
func (h *Hub) parseKeys(a Authentication) (Authentication, error) {
	if a.PrimaryKey == "" && a.SecondaryKey == "" {
		a.PrimaryKey, a.SecondaryKey = h.NewKey(), h.NewKey()
	}
	for _, key := range []string{a.PrimaryKey, a.SecondaryKey} {
		raw, err := base64.StdEncoding.DecodeString(key)
		if err != nil || len(raw) < 16 || len(raw) > 64 {
			return a, argumentInvalid("Both symmetric keys must be given, in base64, of 16 to 64 bytes")
		}
	}
	a.PrimaryThumbprint, a.SecondaryThumbprint = "", ""
	return a, nil
}

func parseThumbprints(a Authentication) (Authentication, error) {
	for _, thumbprint := range []string{a.PrimaryThumbprint, a.SecondaryThumbprint} {
		if thumbprint != "" && !thumbprints.MatchString(thumbprint) {
			return a, argumentInvalid("The thumbprint %q is invalid", thumbprint)
		}
	}
	a.PrimaryKey, a.SecondaryKey = "", ""
	return a, nil
}

// Statistics are the numbers of GET /statistics/devices and /statistics/service.
type Statistics struct{ Total, Enabled, Disabled, Connected int }

// Statistics counts the registry.
func (h *Hub) Statistics() Statistics {
	var s Statistics
	for _, id := range h.IDs() {
		t, err := h.Get(id)
		if err != nil {
			continue
		}
		s.Total++
		if t.Identity.Disabled {
			s.Disabled++
		} else {
			s.Enabled++
		}
		if t.Identity.Connected {
			s.Connected++
		}
	}
	return s
}

// touch gives an identity a new etag, as any write of it does.
func (h *Hub) touch(id string, edit func(*Identity, time.Time)) error {
	_, err := h.update(id, func(t *Twin, at time.Time) (*Twin, Change, error) {
		next := *t
		next.Identity.ETag = h.nextETag()
		edit(&next.Identity, at)
		return &next, Change{Kind: IdentityUpdated}, nil
	})
	return err
}

// Rekey gives a device new keys, and with them a new identity etag; the twin's etag stays.
func (h *Hub) Rekey(id string) error {
	return h.touch(id, func(i *Identity, _ time.Time) {
		i.Authentication.PrimaryKey, i.Authentication.SecondaryKey = h.NewKey(), h.NewKey()
	})
}

// BumpDeviceETag moves the identity's etag and nothing else.
func (h *Hub) BumpDeviceETag(id string) error { return h.touch(id, func(*Identity, time.Time) {}) }

// SetStatus enables or disables a device; disabling disconnects it.
func (h *Hub) SetStatus(id string, enabled bool, reason string) error {
	return h.touch(id, func(i *Identity, at time.Time) {
		i.Disabled, i.StatusReason, i.StatusUpdated = !enabled, reason, at
		i.Connected = i.Connected && enabled
	})
}

// SetConnected marks a device as connected or not. A device that connects announces its model; an empty modelID leaves the
// one that it announced before. No etag and no version moves.
func (h *Hub) SetConnected(id string, connected bool, modelID string) error {
	_, err := h.update(id, func(t *Twin, at time.Time) (*Twin, Change, error) {
		if connected && t.Identity.Disabled {
			return t, Change{}, refuse(403, "DeviceDisabled", 403012, "The device %q is disabled", id)
		}
		next := *t
		next.setConnection(connected, at)
		if modelID != "" {
			next.ModelID = modelID
		}
		return &next, Change{Kind: connectionKind(t, &next)}, nil
	})
	return err
}

func (t *Twin) setConnection(connected bool, at time.Time) {
	if t.Identity.Connected != connected {
		t.Identity.Connected, t.Identity.ConnectedUpdated = connected, at
	}
	if connected {
		t.Identity.LastActivity = at
	}
}

// Active notes that a device has sent something. That is not announced.
func (h *Hub) Active(id string) error {
	_, err := h.update(id, func(t *Twin, at time.Time) (*Twin, Change, error) {
		next := *t
		next.Identity.LastActivity = at
		return &next, Change{}, nil
	})
	return err
}

func connectionKind(before, after *Twin) ChangeKind {
	switch {
	case !after.Identity.Connected:
		return Disconnected
	case before.Identity.Connected && before.ModelID != after.ModelID:
		return ModelAnnounced
	}
	return Connected
}
