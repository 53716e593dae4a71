package hub

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
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
	LastActivity     time.Time // it connected, reported or sent then
	Authentication   Authentication
	IotEdge          bool
	// Scope is that of the edge device which a device is a child of. An edge device has one of its own.
	Scope string
	// ParentScopes of an edge device.
	ParentScopes []string
	// ModuleID is set for a module of the device, ManagedBy by whoever created it.
	ModuleID, ManagedBy string
}

// scopePrefix is what scopes of edge devices begin with; id and generation follow.
const scopePrefix = "ms-azure-iot-edge://"

// DeviceScope is what children of an edge device name, and what its parent is called for any other device.
func (i Identity) DeviceScope() string {
	if i.IotEdge {
		return scopePrefix + i.DeviceID + "-" + i.GenerationID
	}
	return i.Scope
}

// parents is the member parentScopes: the hub copies the scope of a device that is no edge device there.
func (i Identity) parents() (any, bool) {
	scopes := i.ParentScopes
	if !i.IotEdge && i.Scope != "" {
		scopes = []string{i.Scope}
	}
	list := make([]any, len(scopes))
	for n, s := range scopes {
		list[n] = s
	}
	return list, i.IotEdge || len(list) > 0
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
	if i.ModuleID != "" {
		return i.moduleDocument()
	}
	o := jsontree.Object{
		{Name: "deviceId", Value: i.DeviceID},
		{Name: "generationId", Value: i.GenerationID},
		{Name: "etag", Value: i.ETag},
		{Name: "connectionState", Value: i.ConnectionState()},
		{Name: "status", Value: i.Status()},
		{Name: "statusReason", Value: orNull(i.StatusReason)},
		{Name: "connectionStateUpdatedTime", Value: identityTime(i.ConnectedUpdated)},
		{Name: "statusUpdatedTime", Value: identityTime(i.StatusUpdated)},
		{Name: "lastActivityTime", Value: identityTime(i.LastActivity)},
		{Name: "cloudToDeviceMessageCount", Value: 0},
		{Name: "authentication", Value: i.Authentication.document()},
		{Name: "capabilities", Value: jsontree.Object{{Name: "iotEdge", Value: i.IotEdge}}},
	}
	if scope := i.DeviceScope(); scope != "" {
		o = append(o, jsontree.Member{Name: "deviceScope", Value: scope})
	}
	if parents, ok := i.parents(); ok {
		o = append(o, jsontree.Member{Name: "parentScopes", Value: parents})
	}
	return o
}

func (i Identity) moduleDocument() jsontree.Object {
	return jsontree.Object{
		{Name: "moduleId", Value: i.ModuleID},
		{Name: "managedBy", Value: orNull(i.ManagedBy)},
		{Name: "deviceId", Value: i.DeviceID},
		{Name: "generationId", Value: i.GenerationID},
		{Name: "etag", Value: i.ETag},
		{Name: "connectionState", Value: i.ConnectionState()},
		{Name: "connectionStateUpdatedTime", Value: identityTime(i.ConnectedUpdated)},
		{Name: "lastActivityTime", Value: identityTime(i.LastActivity)},
		{Name: "cloudToDeviceMessageCount", Value: 0},
		{Name: "authentication", Value: i.Authentication.document()},
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
