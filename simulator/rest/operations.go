package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

const maxListed = 1000

func listDevices(c *call) (reply, error) {
	top := maxListed
	if s := c.query.Get("top"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxListed {
			return reply{}, usual[400].failure(400)
		}
		top = n
	}
	list := []any{}
	for _, id := range c.server.Hub.IDs() {
		if t, err := c.server.Hub.Get(id); err == nil && len(list) < top {
			list = append(list, t.Identity.Document())
		}
	}
	return ok(list), nil
}

func getDevice(c *call) (reply, error) {
	t, err := c.server.Hub.Get(c.deviceID)
	if err != nil {
		return reply{}, err
	}
	return identityReply(t.Identity), nil
}

func putDevice(c *call) (reply, error) {
	body, err := c.object()
	if err != nil {
		return reply{}, err
	}
	i, err := c.server.Hub.PutIdentity(c.deviceID, body, c.ifMatch)
	if err != nil {
		return reply{}, err
	}
	return identityReply(i), nil
}

func identityReply(i hub.Identity) reply {
	return ok(i.Document()).with("ETag", `"`+i.ETag+`"`)
}

func deleteDevice(c *call) (reply, error) {
	return reply{status: http.StatusNoContent}, c.server.Hub.DeleteIdentity(c.deviceID, c.ifMatch)
}

// bulkDevices answers with the same result whether all of it succeeded (200) or not (400).
func bulkDevices(c *call) (reply, error) {
	v, err := jsontree.Parse(c.body)
	list, isArray := v.([]any)
	if err != nil || !isArray {
		return reply{}, malformed("not a JSON array")
	}
	result, err := c.server.Hub.Bulk(list)
	if err != nil {
		return reply{}, err
	}
	r := ok(result.Document())
	if len(result.Failures) > 0 {
		r.status = http.StatusBadRequest
		r = r.with("iothub-errorcode", "BulkRegistryOperationFailure")
	}
	return r, nil
}

func deviceStatistics(c *call) (reply, error) {
	s := c.server.Hub.Statistics()
	return ok(jsontree.Object{
		{Name: "totalDeviceCount", Value: s.Total},
		{Name: "enabledDeviceCount", Value: s.Enabled},
		{Name: "disabledDeviceCount", Value: s.Disabled},
	}), nil
}

func serviceStatistics(c *call) (reply, error) {
	return ok(jsontree.Object{{Name: "connectedDeviceCount", Value: c.server.Hub.Statistics().Connected}}), nil
}

func getTwin(c *call) (reply, error) { return twinReply(c.server.Hub.Get(c.target())) }

func patchTwin(c *call) (reply, error) {
	body, err := c.object()
	if err != nil {
		return reply{}, err
	}
	return twinReply(c.server.Hub.PatchTwin(c.target(), body, c.ifMatch))
}

func replaceTwin(c *call) (reply, error) {
	body, err := c.object()
	if err != nil {
		return reply{}, err
	}
	return twinReply(c.server.Hub.ReplaceTwin(c.target(), body, c.ifMatch))
}

// twinReply carries no ETag header: recordings of the service show none for device twins.
func twinReply(t *hub.Twin, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, header: http.Header{}, body: t.JSON()}, nil
}

func getDigitalTwin(c *call) (reply, error) {
	t, err := c.server.Hub.Get(c.deviceID)
	if err != nil {
		return reply{}, err
	}
	return ok(t.DigitalTwin()).with("ETag", quoted(t)), nil
}

// patchDigitalTwin answers 202 with an empty body: the new state is only in the ETag.
func patchDigitalTwin(c *call) (reply, error) {
	t, err := c.server.Hub.PatchDigitalTwin(c.deviceID, json.RawMessage(c.body), c.ifMatch)
	if err != nil {
		return reply{}, err
	}
	location := "https://" + c.server.HostName + "/digitaltwins/" + url.PathEscape(c.deviceID) + "?api-version=" + c.query.Get("api-version")
	return reply{status: http.StatusAccepted, header: http.Header{}}.with("ETag", quoted(t)).with("Location", location), nil
}

func quoted(t *hub.Twin) string { return `"` + t.ETag() + `"` }
