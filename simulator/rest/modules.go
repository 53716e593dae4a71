package rest

import (
	"errors"
	"net/http"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
)

// target is by what the hub knows the device, or the module, that a call is about.
func (c *call) target() string { return hub.ModuleKey(c.deviceID, c.params["module"]) }

// ownModule refuses calls of module identities as the hub was seen to: with a signature a device that is missing or disabled is a
// matter of authorization.
func (c *call) ownModule() error {
	t, err := c.server.Hub.Get(c.deviceID)
	if strings.HasPrefix(c.header.Get("Authorization"), "Bearer ") || err == nil && !t.Identity.Disabled {
		return err
	}
	return usual[401].failure(401)
}

func listModules(c *call) (reply, error) {
	if err := c.ownModule(); err != nil {
		return reply{}, err
	}
	identities, err := c.server.Hub.Modules(c.deviceID)
	list := make([]any, len(identities))
	for i, identity := range identities {
		list[i] = identity.Document()
	}
	return ok(list), err
}

func getModule(c *call) (reply, error) {
	if err := c.ownModule(); err != nil {
		return reply{}, err
	}
	t, err := c.server.Hub.Get(c.target())
	if err != nil {
		return reply{}, moduleError(c, err)
	}
	return identityReply(t.Identity), nil
}

func putModule(c *call) (reply, error) {
	if err := c.ownModule(); err != nil {
		return reply{}, err
	}
	body, err := c.object()
	if err != nil {
		return reply{}, err
	}
	i, err := c.server.Hub.PutModule(c.deviceID, c.params["module"], body, c.ifMatch)
	if err != nil {
		return reply{}, moduleError(c, err)
	}
	return identityReply(i), nil
}

func deleteModule(c *call) (reply, error) {
	if err := c.ownModule(); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, moduleError(c, c.server.Hub.DeleteIdentity(c.target(), c.ifMatch))
}

// moduleError tells a missing module from a missing device. Errors of modules are of the envelope E2.
func moduleError(c *call, err error) error {
	refused, ok := errors.AsType[*hub.Error](err)
	if !ok {
		return err
	}
	f := failure{refusal: *refused, envelope: E2}
	if refused.Name == "DeviceNotFound" {
		f.refusal = hub.Error{Status: 404, Name: "ModuleNotFound", Number: 404010, Message: "Module " + c.params["module"] + " on Device " + c.deviceID + " not found."}
	}
	return &f
}
