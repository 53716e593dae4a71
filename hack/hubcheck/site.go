package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// model is what the device says it is. Nobody has to know it.
const model = "dtmi:com:example:Hubcheck;1"

// site is what facts are played with: the hub, a device of its own, and what the hub announces of it.
type site struct {
	options

	hub     *hub
	meter   *meter
	secrets *hider
	id      string // of the device, and of the configuration
	made    bool   // the device may be at the hub
	key     string // of the device
	device  *device
	online  bool
	events  *stream
	silent  map[string]bool // sources of events of which none came

	unreachable bool // the device could not connect

	configured bool // the configuration may be at the hub
	burst      *burst
	remark     string // on the fact that is played: what was measured and is not compared
}

// site reads what the options name. Nothing is sent yet.
func (o options) site(ctx context.Context, secrets *hider) (*site, error) {
	text, parsed, err := o.hubString()
	if err != nil {
		return nil, err
	}
	secrets.add(text, fieldOf(text, "SharedAccessKey"))
	bundle, err := o.bundle()
	if err != nil {
		return nil, err
	}
	roots, err := rootsOf(bundle)
	if err != nil {
		return nil, err
	}
	s := &site{options: o, meter: &meter{}, secrets: secrets, id: newID(), silent: map[string]bool{}}
	if s.hub, err = newHub(text, o.endpoint, roots, s.meter); err != nil {
		return nil, err
	}
	s.hub.hostName = parsed.HostName
	if o.allowed&someEvents != 0 {
		config, err := o.eventsConfig()
		if err != nil {
			return nil, err
		}
		secrets.add(config.ConnectionString, fieldOf(config.ConnectionString, "SharedAccessKey"))
		s.events = newStream(config, o, roots, s.id)
	}
	if o.used()&aDevice == 0 {
		return s, nil
	}
	return s, installPackages(ctx, o.devices)
}

// newID differs from run to run, and says where it comes from should it ever be left behind.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return "hubcheck-" + hex.EncodeToString(b[:])
}

// begin reads events from now on, starts the device's process and makes the device.
func (s *site) begin(ctx context.Context) (err error) {
	if s.used()&aDevice != 0 {
		if s.device, err = startDevice(s.devices, s.meter); err != nil {
			return err
		}
	}
	if s.events != nil {
		if err := s.events.start(ctx); err != nil {
			return err
		}
	}
	s.made = true // also if the answer is lost
	a, err := s.hub.ask(ctx, http.MethodPut, "/devices/"+s.id, `{"deviceId":"`+s.id+`"}`)
	if err == nil && a.status == http.StatusOK {
		return s.keep(a)
	}
	s.made = err != nil || a.status >= http.StatusInternalServerError // which a device may have been made before
	return s.refused("making a device", a, err)
}

// keep takes the keys that the hub made, and tries whether twins may be read.
func (s *site) keep(a answer) error {
	doc, err := parseDocument(a.body)
	if err != nil {
		return err
	}
	s.key = doc.text("authentication", "symmetricKey", "primaryKey")
	s.secrets.add(s.key, doc.text("authentication", "symmetricKey", "secondaryKey"))
	if s.key == "" {
		return errors.New("the hub's answer has no key for the new device")
	}
	_, err = s.read(context.Background())
	return err
}

func (s *site) refused(what string, a answer, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case a.status == http.StatusUnauthorized:
		return fmt.Errorf("%s: the hub answers %s: the policy needs RegistryWrite and ServiceConnect, as iothubowner has them", what, a)
	}
	return fmt.Errorf("%s: the hub answers %s", what, a)
}

// removeTime is for the clean-up, which an interrupt does not end.
const removeTime = 3 * time.Minute

// close ends what was begun, and removes what was made.
func (s *site) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	var errs []error
	if s.device != nil {
		errs = append(errs, s.device.stop())
	}
	if s.configured {
		errs = append(errs, s.remove(ctx, "/configurations/"+s.id, "configuration delete --config-id"))
	}
	if s.made {
		errs = append(errs, s.remove(ctx, "/devices/"+s.id, "device-identity delete --device-id"))
	}
	if s.events != nil {
		s.events.stop(ctx)
	}
	s.hub.http.CloseIdleConnections()
	return errors.Join(errs...)
}

// remove tries until the hub says that it is gone.
func (s *site) remove(ctx context.Context, path, command string) error {
	var last error
	gone, err := eventually(ctx, removeTime/2, func() (bool, error) {
		var a answer
		if a, last = s.hub.ask(ctx, http.MethodDelete, path, "", anyETag...); last == nil {
			last = fmt.Errorf("the hub answers %s", a)
		}
		return a.status == http.StatusNoContent || a.status == http.StatusNotFound, nil
	})
	if gone {
		return nil
	}
	return fmt.Errorf("%s may be left at the hub (az iot hub %s %s removes it): %w", path, command, s.id, errors.Join(last, err))
}

// read returns the device twin.
func (s *site) read(ctx context.Context) (document, error) {
	a, err := s.hub.ask(ctx, http.MethodGet, "/twins/"+s.id, "")
	if err != nil || a.status != http.StatusOK {
		return nil, s.refused("reading the twin", a, err)
	}
	return parseDocument(a.body)
}

// patch merges into the desired properties and returns the twin after it.
func (s *site) patch(ctx context.Context, desired string) (document, error) {
	a, err := s.tryPatch(ctx, desired)
	if err != nil || a.status != http.StatusOK {
		return nil, s.refused("writing the desired properties "+desired, a, err)
	}
	return parseDocument(a.body)
}

func (s *site) tryPatch(ctx context.Context, desired string) (answer, error) {
	return s.hub.ask(ctx, http.MethodPatch, "/twins/"+s.id, `{"properties":{"desired":`+desired+`}}`)
}

// replace puts the twin as a whole: tags and desired properties.
func (s *site) replace(ctx context.Context, twin string) (document, error) {
	a, err := s.hub.ask(ctx, http.MethodPut, "/twins/"+s.id, twin)
	if err != nil || a.status != http.StatusOK {
		return nil, s.refused("replacing the twin", a, err)
	}
	return parseDocument(a.body)
}

const emptyTwin = `{"properties":{"desired":{}}}`

// empty removes all desired properties and tags, once a fact has left some that are in the way. A fact counts also where
// that fails: the next ones will tell.
func (s *site) empty(ctx context.Context) { _, _ = s.replace(ctx, emptyTwin) }

// patchDT applies a JSON Patch to the digital twin.
func (s *site) patchDT(ctx context.Context, operations string) (answer, error) {
	return s.hub.ask(ctx, http.MethodPatch, "/digitaltwins/"+s.id, operations)
}

// played is the answer to a digital-twin patch, as a fact sees it.
func (s *site) played(ctx context.Context, operations string) (string, error) {
	a, err := s.patchDT(ctx, operations)
	return a.String(), err
}

// prepare is for a digital-twin patch that has to be taken before the fact itself is played.
func (s *site) prepare(ctx context.Context, operations string) error {
	a, err := s.patchDT(ctx, operations)
	if err != nil || a.status != http.StatusAccepted {
		return s.refused("preparing the digital twin by "+operations, a, err)
	}
	return nil
}

// setStatus enables or disables the device, with the keys that it has.
func (s *site) setStatus(ctx context.Context, status string) error {
	body := fmt.Sprintf(`{"deviceId":%q,"status":%q,"authentication":{"type":"sas","symmetricKey":{"primaryKey":%q,"secondaryKey":%q}}}`, s.id, status, s.key, s.key)
	a, err := s.hub.ask(ctx, http.MethodPut, "/devices/"+s.id, body, anyETag...)
	if err != nil || a.status != http.StatusOK {
		return s.refused("setting the device "+status, a, err)
	}
	return nil
}

// connect has the device connect with a key and as a model, whatever it did before.
func (s *site) connect(ctx context.Context, key, as string) error {
	if err := s.disconnect(ctx); err != nil {
		return err
	}
	connectionString := fmt.Sprintf("HostName=%s;DeviceId=%s;SharedAccessKey=%s", s.hub.hostName, s.id, key)
	if s.gateway != "" {
		connectionString += ";GatewayHostName=" + s.gateway
	}
	answered := map[string]any{"status": 207, "payload": map[string]any{"x": 1}}
	more := map[string]any{"connectionString": connectionString, "model": as,
		"methods": map[string]any{"answered": answered, "probe*answered": answered, "silent": nil}}
	bundle, err := s.bundle()
	if err != nil {
		return err
	}
	more["ca"] = string(bundle)
	err = s.device.do(ctx, "connect", more)
	s.online = err == nil
	return err
}

// connected has the device online, with its key and its model. A hub may take a while to know a device, or that it is enabled again;
// one that cannot be reached is not tried for every fact.
func (s *site) connected(ctx context.Context) error {
	switch {
	case s.online:
		return nil
	case s.unreachable:
		return skipf("the device could not connect before")
	}
	var last error
	yes, err := eventually(ctx, s.patience, func() (bool, error) {
		last = s.connect(ctx, s.key, model)
		if _, refused := errors.AsType[*refusal](last); refused && strings.Contains(last.Error(), "Unauthorized") {
			return false, ctx.Err()
		}
		return last == nil, last
	})
	s.unreachable = !yes && ctx.Err() == nil
	return cmp.Or(err, last)
}

// disconnect has the device offline.
func (s *site) disconnect(ctx context.Context) error {
	s.online = false
	return s.device.do(ctx, "close", nil)
}

// report has the device report a patch, and returns the hub's answer as it was on the wire.
func (s *site) report(ctx context.Context, patch string) (deviceEvent, error) {
	if err := s.meter.room(len(patch)); err != nil {
		return deviceEvent{}, err
	}
	mark := s.device.events.mark()
	if err := s.device.do(ctx, "report", map[string]any{"patch": json.RawMessage(patch)}); err != nil {
		return deviceEvent{}, err
	}
	return s.received(ctx, mark, "$iothub/twin/res/")
}

// received is the first message from a mark on whose topic begins so.
func (s *site) received(ctx context.Context, mark int, topic string) (deviceEvent, error) {
	e, found, err := s.device.events.await(ctx, mark, s.patience, func(e deviceEvent) bool { return strings.HasPrefix(e.Topic, topic) })
	if err == nil && !found {
		err = fmt.Errorf("the device got nothing on %s within %s", topic, s.patience)
	}
	return e, err
}

// query returns the number of rows of the device that fit, or the answer if it is an error.
func (s *site) query(ctx context.Context, condition string) (rows int, refused string, err error) {
	a, err := s.ask(ctx, "SELECT deviceId FROM devices WHERE deviceId = '"+s.id+"' AND "+condition)
	if err != nil {
		return 0, "", err
	}
	if a.status != http.StatusOK {
		return 0, a.String(), nil
	}
	var list []json.RawMessage
	err = json.Unmarshal(a.body, &list)
	return len(list), "", err
}

func (s *site) ask(ctx context.Context, query string, headers ...string) (answer, error) {
	raw, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return answer{}, err
	}
	return s.hub.ask(ctx, http.MethodPost, "/devices/query", string(raw), headers...)
}
