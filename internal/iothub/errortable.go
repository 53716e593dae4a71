package iothub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"

	"github.com/pnp-operator/pnp-operator/internal/allowlist"
	"github.com/pnp-operator/pnp-operator/internal/entra"
)

// trait is what callers ask about an error beside its class.
type trait string

const (
	deviceUnknown trait = "deviceUnknown"
	unauthorized  trait = "unauthorized"
	staleETag     trait = "staleETag"
	throttled     trait = "throttled"
	invalidPatch  trait = "invalidPatch"
	quotaExceeded trait = "quotaExceeded"
)

// Numbers of the hub that callers ask for.
const (
	NumberQuotaExceeded    = 403002
	NumberDeviceDisabled   = 403012
	NumberTooManyInFlight  = 403800
	NumberDeviceNotFound   = 404001
	NumberDeviceOffline    = 404103
	NumberConnectionClosed = 404104
)

// row is one failure that the hub can answer with. Number is status times 1000 and a running number.
type row struct {
	status, number int
	code           string
	class          Class
	trait          trait
}

// hubErrors are the codes that Microsoft documents in "Understand and resolve Azure IoT Hub error codes" and in the .NET
// SDK's ErrorCode. DeviceNotFound is terminal for the twins and queries of this package: someone has to create the device.
var hubErrors = []row{
	{400, 400001, "InvalidProtocolVersion", Terminal, ""},
	{400, 400003, "InvalidOperation", Terminal, ""},
	{400, 400004, "ArgumentInvalid", Terminal, ""},
	{400, 400005, "ArgumentNull", Terminal, ""},
	{400, 400006, "IotHubFormatError", Terminal, ""},
	{400, 400011, "DeviceDefinedMultipleTimes", Terminal, ""},
	{400, 400013, "BulkRegistryOperationFailure", Terminal, ""},
	{400, 400027, "ConnectionForcefullyClosedOnNewConnection", Terminal, ""},
	{400, 400505, "InvalidDigitalTwinJsonPatch", Terminal, invalidPatch},
	{400, 400506, "InvalidDigitalTwinPayload", Terminal, invalidPatch},
	{400, 400507, "InvalidDigitalTwinPatch", Terminal, invalidPatch},
	{400, 400508, "InvalidDigitalTwinPatchPath", Terminal, invalidPatch},
	{401, 401002, "IotHubUnauthorizedAccess", Terminal, unauthorized},
	{401, 401003, "IotHubUnauthorized", Terminal, unauthorized},
	{403, NumberQuotaExceeded, "IotHubQuotaExceeded", Waiting, quotaExceeded}, // until 00:00 UTC
	{403, 403003, "JobQuotaExceeded", Terminal, ""},
	{403, 403004, "DeviceMaximumQueueDepthExceeded", Terminal, ""},
	{403, 403010, "OperationNotAvailableInCurrentTier", Terminal, ""},
	{403, NumberDeviceDisabled, "DeviceDisabled", Waiting, ""},
	{403, NumberTooManyInFlight, "DeviceMaximumInflightMethodExceeded", Waiting, ""},
	{404, NumberDeviceNotFound, "DeviceNotFound", Terminal, deviceUnknown},
	{404, 404002, "JobNotFound", Terminal, ""},
	{404, 404010, "ModuleNotFound", Terminal, ""},
	{404, NumberDeviceOffline, "DeviceNotOnline", Waiting, ""},
	{404, NumberConnectionClosed, "DeviceConnectionClosedRemotely", Transient, ""},
	{404, 404301, "ConfigurationNotFound", Terminal, ""},
	{404, 0, "IotHubNotFound", Terminal, ""},
	{405, 405102, "OperationNotAllowedInCurrentState", Terminal, ""},
	{409, 409001, "DeviceAlreadyExists", Terminal, ""},
	{409, 409002, "LinkCreationConflict", Transient, ""},
	{409, 409103, "JobAlreadyExists", Terminal, ""},
	{409, 409301, "ModuleAlreadyExistsOnDevice", Terminal, ""},
	{409, 409401, "ConfigurationAlreadyExists", Terminal, ""},
	{412, 412001, "PreconditionFailed", Transient, staleETag},
	{412, 412002, "DeviceMessageLockLost", Transient, ""},
	{413, 413001, "MessageTooLarge", Terminal, ""},
	{413, 413002, "TooManyDevices", Terminal, ""},
	{413, 413101, "ConfigurationCountLimitExceeded", Terminal, ""},
	{429, 429000, "GenericTooManyRequests", Waiting, throttled},
	{429, 429001, "ThrottlingException", Waiting, throttled},
	{429, 429002, "ThrottleBacklogLimitExceeded", Waiting, throttled},
	{429, 429003, "ThrottlingBacklogTimeout", Waiting, throttled},
	{429, 429004, "ThrottlingMaxActiveJobCountExceeded", Waiting, throttled},
	{429, 429005, "DeviceThrottlingLimitExceeded", Waiting, throttled},
	{500, 500001, "ServerError", Transient, ""},
	{500, 500008, "GenericTimeout", Transient, ""},
	{503, 503001, "ServiceUnavailable", Transient, ""},
	{503, 503004, "IotHubActivationFailed", Transient, ""},
	{503, 503005, "ServerBusy", Transient, throttled}, // overload: fewer requests help
	{503, 503006, "IotHubRestoring", Transient, ""},
	{503, 503008, "ReceiveLinkOpensThrottled", Transient, ""},
	{503, 503101, "ConnectionUnavailable", Transient, ""},
	{503, 503102, "DeviceUnavailable", Transient, ""},
	{504, 504000, "GenericGatewayTimeout", Transient, ""},
	{504, 504101, "GatewayTimeout", Transient, ""},
}

// statuses apply where the hub gave no code, or one that is not known. Any other status is transient: a bare 404, for one,
// is a proxy's, since the hub says what it did not find.
var statuses = map[int]row{
	http.StatusBadRequest:            {class: Terminal},
	http.StatusUnauthorized:          {class: Terminal, trait: unauthorized},
	http.StatusForbidden:             {class: Terminal, trait: unauthorized}, // without a code: of a proxy, or an IP filter
	http.StatusMethodNotAllowed:      {class: Terminal},
	http.StatusPreconditionFailed:    {class: Transient, trait: staleETag},
	http.StatusRequestEntityTooLarge: {class: Terminal},
	http.StatusUnsupportedMediaType:  {class: Terminal},
	http.StatusTooManyRequests:       {class: Waiting, trait: throttled},
	http.StatusMovedPermanently:      {class: Transient, code: CodeRedirect},
	http.StatusFound:                 {class: Transient, code: CodeRedirect},
	http.StatusSeeOther:              {class: Transient, code: CodeRedirect},
	http.StatusTemporaryRedirect:     {class: Transient, code: CodeRedirect},
	http.StatusPermanentRedirect:     {class: Transient, code: CodeRedirect},
}

var (
	rowsByNumber = map[int]row{}
	rowsByCode   = map[string]row{}
)

func init() {
	for _, r := range hubErrors {
		rowsByNumber[r.number] = r
		rowsByCode[r.code] = r
	}
	delete(rowsByNumber, 0)
}

// lookUp finds the row of an answer: by number, else by code, else by status. A number or code of another status is not
// believed: a gateway's 502 stays one, whatever it quotes.
func lookUp(status, number int, code string) row {
	if r, ok := rowsByNumber[number]; ok && r.status == status {
		return r
	}
	if r, ok := rowsByCode[code]; ok && r.status == status {
		return r
	}
	if status == http.StatusForbidden && (number != 0 || code != "") { // it is about the request: the hub knows the caller
		return row{class: Terminal}
	}
	if r, ok := statuses[status]; ok {
		return r
	}
	return row{class: Transient}
}

// local is a failure that is not an answer of the hub.
type local struct {
	code  string
	class Class
	is    func(error) bool
}

// localFailures are tried in this order.
var localFailures = []local{
	{CodeHostNotAllowed, Terminal, isType[*allowlist.Error]},
	{CodeInvalidConfiguration, Terminal, isType[*ConfigError]},
	{CodeIdentityRefused, Terminal, entra.IsRefused},
	{CodeNoToken, Transient, isType[*entra.Error]},
	{CodeCanceled, Transient, func(err error) bool { return errors.Is(err, context.Canceled) }},
	{CodeTimeout, Transient, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	{CodeDNS, Transient, isType[*net.DNSError]},
	{CodeTLS, Transient, isTLS},
	{CodeTimeout, Transient, isTimeout},
	{CodeTooLarge, Transient, func(err error) bool { return errors.Is(err, errBodyTooLarge) }},
	{CodeNoRoom, Transient, func(err error) bool { return errors.Is(err, errNoRoom) }},
}

// localFailure is transient and without a code for an unknown error.
func localFailure(err error) local {
	for _, f := range localFailures {
		if f.is(err) {
			return f
		}
	}
	return local{class: Transient}
}

func isType[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// isTLS knows refused certificates, peers that speak something else, and alerts, whose type crypto/tls does not export.
func isTLS(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	alert := ok && (op.Op == "remote error" || op.Op == "local error")
	return alert || isType[*tls.CertificateVerificationError](err) || isType[tls.RecordHeaderError](err) ||
		isType[x509.UnknownAuthorityError](err) || isType[x509.CertificateInvalidError](err) || isType[x509.HostnameError](err)
}
