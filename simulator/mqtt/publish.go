package mqtt

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
	"github.com/pnp-operator/pnp-operator/simulator/routing"
)

// published deals with what a device published, in the order in which it did.
func (s *session) published(p publication, pk packets.Packet) {
	switch p.kind {
	case twinGet:
		s.reply(func() { s.answerGet(p.request) })
	case twinReport:
		s.report(p.request, pk.Payload)
	case methodAnswer:
		s.answered(p.request, methods.Answer{Status: p.status, Payload: pk.Payload})
	case telemetry:
		var more map[string]any
		if pk.FixedHeader.Retain {
			more = map[string]any{"mqtt-retain": "true"}
		}
		s.server.publish(s.id, p, pk.Payload, more)
	}
}

// answerGet reads the twin when it is the answer's turn: a notification that left before is never newer than the answer.
func (s *session) answerGet(request string) {
	t, err := s.server.Hub.Get(s.id)
	if err != nil {
		s.refuse(request, err)
		return
	}
	s.answer("200", request, "", jsontree.Append(nil, jsontree.Object{
		{Name: "desired", Value: t.Desired().With("$version", t.DesiredVersion())},
		{Name: "reported", Value: t.Reported().With("$version", t.ReportedVersion())},
	}))
}

// report writes before it returns, so that what a device reports one after the other is written in that order.
func (s *session) report(request string, payload []byte) {
	patch, err := jsontree.ParseObject(payload)
	if err != nil {
		s.reply(func() { s.refuse(request, hub.BadReport(err)) })
		return
	}
	t, err := s.server.Hub.Report(s.id, patch)
	if err != nil {
		s.reply(func() { s.refuse(request, err) })
		return
	}
	s.reply(func() { s.answer("204", request, "&$version="+strconv.FormatInt(t.ReportedVersion(), 10), nil) })
}

// reply queues an answer if the device has asked for answers by now.
func (s *session) reply(task func()) {
	if s.subscribed(answerFilter) {
		s.later(task)
	}
}

func (s *session) answer(status, request, more string, body []byte) {
	s.send("$iothub/twin/res/"+status+"/?$rid="+url.QueryEscape(request)+more, body)
}

func (s *session) refuse(request string, err error) {
	refused := &hub.Error{Status: 500, Name: "ServerError", Number: 500001, Message: "A server error occurred; please try again."}
	errors.As(err, &refused)
	now := s.server.Clock()
	tracking := newTrackingID() + "-G:0-TimeStamp:" + now.UTC().Format("01/02/2006 15:04:05")
	s.answer(strconv.Itoa(refused.Status), request, "", jsontree.Append(nil, refused.Document(tracking, now)))
}

func newTrackingID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// publish announces a message of a device. Properties whose names begin with $. are the system's.
func (s *Server) publish(id string, p publication, body []byte, application map[string]any) {
	m := routing.DeviceMessage{Application: application, Body: body}
	for name, value := range p.properties {
		setProperty(&m, name, value)
	}
	if err := s.Router.PublishMessage(id, m); err != nil {
		s.Logger.V(1).Info("A message is lost: its device is gone", "deviceID", id, "error", err.Error())
	}
}

func setProperty(m *routing.DeviceMessage, name, value string) {
	system := map[string]*string{
		"$.mid": &m.Properties.MessageID, "$.cid": &m.Properties.CorrelationID, "$.ct": &m.Properties.ContentType,
		"$.ce": &m.Properties.ContentEncoding, "$.sub": &m.Component,
	}
	switch field, ok := system[name]; {
	case ok:
		*field = value
	case name == "$.uid":
		m.Properties.UserID = []byte(value)
	case strings.HasPrefix(name, "$."): // others do not show in an event
	default:
		if m.Application == nil {
			m.Application = map[string]any{}
		}
		m.Application[name] = value
	}
}
