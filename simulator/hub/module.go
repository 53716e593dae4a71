package hub

import (
	"slices"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// maxModules of a device ("Understand and use module twins in IoT Hub").
const maxModules = 50

// systemModules are those that every edge device has.
var systemModules = []string{"$edgeAgent", "$edgeHub"}

// ModuleKey is by what the methods of Hub that take the id of a device know a module of it; of no module it is the id.
func ModuleKey(device, module string) string {
	if module == "" {
		return device
	}
	return device + "/" + module // ids have no slash
}

func isModuleKey(id string) bool { return strings.Contains(id, "/") }

func (h *Hub) moduleKeys() []string {
	return h.modules.sorted(func() []string { return h.collect(true) })
}

// modulesOf returns the keys of the modules of a device, in ascending order.
func (h *Hub) modulesOf(device string) []string {
	keys, prefix := h.moduleKeys(), device+"/"
	start, _ := slices.BinarySearch(keys, prefix)
	end := start
	for end < len(keys) && strings.HasPrefix(keys[end], prefix) {
		end++
	}
	return keys[start:end]
}

// Modules returns the identities of the modules of a device.
func (h *Hub) Modules(device string) ([]Identity, error) {
	if _, err := h.Get(device); err != nil {
		return nil, err
	}
	var all []Identity
	for _, key := range h.modulesOf(device) {
		if t, err := h.Get(key); err == nil {
			all = append(all, t.Identity)
		}
	}
	return all, nil
}

// PutModule creates or updates the identity of a module, by the rules of PutIdentity.
func (h *Hub) PutModule(device, module string, body jsontree.Object, ifMatch string) (Identity, error) {
	want, err := h.parseModule(device, module, body)
	if err != nil {
		return Identity{}, err
	}
	if tag(ifMatch) == "" {
		return h.createModule(want)
	}
	t, err := h.update(ModuleKey(device, module), func(t *Twin, at time.Time) (*Twin, Change, error) { return h.updateIdentity(t, want, ifMatch, at) })
	if err != nil {
		return Identity{}, err
	}
	return t.Identity, nil
}

func (h *Hub) parseModule(device, module string, body jsontree.Object) (Identity, error) {
	if !deviceIDs.MatchString(module) {
		return Identity{}, argumentInvalid("The module id %q is invalid", module)
	}
	if inBody, _ := body.Get("moduleId"); inBody != module {
		return Identity{}, argumentInvalid("The module id of the body must be %q", module)
	}
	if inBody, ok := body.Get("deviceId"); ok && inBody != device {
		return Identity{}, argumentInvalid("The device id of the body must be %q", device)
	}
	authentication := body.Object("authentication")
	if kind, _ := text(authentication, "type"); kind == "none" {
		authentication = authentication.With("type", "sas")
	}
	a, err := h.parseAuthentication(authentication)
	managedBy, _ := text(body, "managedBy")
	return Identity{DeviceID: device, ModuleID: module, ManagedBy: managedBy, Authentication: a}, err
}

// createModule creates a module while its device is there, and is held.
func (h *Hub) createModule(want Identity) (Identity, error) {
	var made *Twin
	_, err := h.update(want.DeviceID, func(t *Twin, _ time.Time) (*Twin, Change, error) {
		if len(h.modulesOf(want.DeviceID)) >= maxModules {
			return t, Change{}, refuse(413, "TooManyModulesOnDevice", 413003, "The device %q has %d modules already", want.DeviceID, maxModules)
		}
		if made = h.createTwin(want, func(at time.Time) time.Time { return at }); made == nil {
			return t, Change{}, refuse(409, "ModuleAlreadyExistsOnDevice", 409301, "Device %s already contains Module %s.", want.DeviceID, want.ModuleID)
		}
		return t, Change{}, nil
	})
	if err != nil {
		return Identity{}, err
	}
	return made.Identity, nil
}

func (h *Hub) createSystemModules(device string) error {
	for _, module := range systemModules {
		a, err := h.parseKeys(Authentication{Type: "sas"})
		if err != nil {
			return err
		}
		if _, err := h.createModule(Identity{DeviceID: device, ModuleID: module, ManagedBy: "iotEdge", Authentication: a}); err != nil {
			return err
		}
	}
	return nil
}

// deleteModulesOf deletes the modules of a device that is about to be deleted.
func (h *Hub) deleteModulesOf(device Identity) error {
	if device.ModuleID != "" {
		return nil
	}
	for _, key := range h.modulesOf(device.DeviceID) {
		if err := h.DeleteIdentity(key, "*"); err != nil {
			return err
		}
	}
	return nil
}
