package hub

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/simulator/jsontree"
)

// Identity is one entry of the device registry.
type Identity struct {
	DeviceID         string
	GenerationID     string
	ETag             string // base64 of a decimal number
	Disabled         bool
	StatusReason     string
	StatusUpdated    time.Time
	Connected        bool
	ConnectedUpdated time.Time
	Authentication   Authentication
	IotEdge          bool
}

// Authentication is how a device proves who it is.
type Authentication struct {
	Type                                   string // sas, selfSigned or certificateAuthority
	PrimaryKey, SecondaryKey               string
	PrimaryThumbprint, SecondaryThumbprint string
}

// Status returns enabled or disabled.
func (i Identity) Status() string {
	if i.Disabled {
		return "disabled"
	}
	return "enabled"
}

// ConnectionState returns Connected or Disconnected.
func (i Identity) ConnectionState() string {
	if i.Connected {
		return "Connected"
	}
	return "Disconnected"
}

// Document is the identity as the registry returns it.
func (i Identity) Document() jsontree.Object {
	return jsontree.Object{
		{Name: "deviceId", Value: i.DeviceID},
		{Name: "generationId", Value: i.GenerationID},
		{Name: "etag", Value: i.ETag},
		{Name: "connectionState", Value: i.ConnectionState()},
		{Name: "status", Value: i.Status()},
		{Name: "statusReason", Value: orNull(i.StatusReason)},
		{Name: "connectionStateUpdatedTime", Value: identityTime(i.ConnectedUpdated)},
		{Name: "statusUpdatedTime", Value: identityTime(i.StatusUpdated)},
		{Name: "lastActivityTime", Value: identityTime(time.Time{})},
		{Name: "cloudToDeviceMessageCount", Value: 0},
		{Name: "authentication", Value: i.Authentication.document()},
		{Name: "capabilities", Value: jsontree.Object{{Name: "iotEdge", Value: i.IotEdge}}},
	}
}

func (a Authentication) document() jsontree.Object {
	return jsontree.Object{
		{Name: "symmetricKey", Value: jsontree.Object{
			{Name: "primaryKey", Value: orNull(a.PrimaryKey)},
			{Name: "secondaryKey", Value: orNull(a.SecondaryKey)},
		}},
		{Name: "x509Thumbprint", Value: a.thumbprints()},
		{Name: "type", Value: a.Type},
	}
}

func (a Authentication) thumbprints() jsontree.Object {
	return jsontree.Object{
		{Name: "primaryThumbprint", Value: orNull(a.PrimaryThumbprint)},
		{Name: "secondaryThumbprint", Value: orNull(a.SecondaryThumbprint)},
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// timeLayout is .NET's: up to seven fractional digits, trailing zeros cut.
const timeLayout = "2006-01-02T15:04:05.9999999Z"

// identityTime and twinTime differ in how they show a time that was never set.
func identityTime(t time.Time) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00"
	}
	return twinTime(t)
}

func twinTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// identityETag is the base64 form of a decimal number.
func identityETag(n uint64) string {
	return base64.StdEncoding.EncodeToString(strconv.AppendUint(nil, n, 10))
}

// twinETag is the base64 form of an 8-byte big-endian counter.
func twinETag(counter int64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(counter)))
}

// etagNumber shows either kind of etag as the number that it encodes, for messages.
func etagNumber(etag string) string {
	raw, err := base64.StdEncoding.DecodeString(etag)
	if err != nil {
		return "-1"
	}
	if len(raw) == 8 && raw[0] == 0 {
		return strconv.FormatUint(binary.BigEndian.Uint64(raw), 10)
	}
	return string(raw)
}
