package simulator

import (
	"net/http"
)

// ConnectionString is what a device pastes into Microsoft's SDK.
type ConnectionString struct {
	ConnectionString string `json:"connectionString"`
}

// connectionRoutes are the part of the debug API that is about devices' connections and what comes through them.
func (d debugAPI) connectionRoutes() map[string]debugHandler {
	return map[string]debugHandler{
		"GET /devices/{id}/connectionstring": d.connectionString,
		"PUT /devices/{id}/commands/{name}":  d.answerCommand,
		"GET /devices/{id}/commands":         d.listCommands,
		"POST /mqtt/cut":                     func(r *http.Request) (any, error) { d.CutMQTT(r.URL.Query().Get("device")); return nil, nil },
	}
}

func (d debugAPI) connectionString(r *http.Request) (any, error) {
	s, err := d.DeviceConnectionString(r.PathValue("id"))
	return ConnectionString{s}, err
}

func (d debugAPI) answerCommand(r *http.Request) (any, error) {
	var a CommandAnswer
	if err := decode(r, &a); err != nil {
		return nil, err
	}
	return nil, notFound(d.devices.AnswerCommand(r.PathValue("id"), r.PathValue("name"), a))
}

func (d debugAPI) listCommands(r *http.Request) (any, error) {
	ran, err := d.devices.Commands(r.PathValue("id"))
	return append([]RanCommand{}, ran...), notFound(err)
}
