package eventstream

import (
	"errors"
	"net"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"

	"github.com/pnp-operator/pnp-operator/internal/entra"
)

// Phase is what a stream, or one partition of it, is doing.
type Phase string

const (
	// Connecting has not been told yet whether it may read.
	Connecting Phase = "Connecting"
	// Reading is all well.
	Reading Phase = "Reading"
	// Lagging reads, but is behind the hub by more than the limit, or has not read yet what the hub
	// held when it was opened.
	Lagging Phase = "Lagging"
	// Shared is kept out by another reader of this process.
	Shared Phase = "Shared"
	// Taken was evicted, or is kept out, by another reader of the consumer group.
	Taken Phase = "Taken"
	// Unauthorized was refused its credential or its right to listen.
	Unauthorized Phase = "Unauthorized"
	// HubGone means that the namespace or the event hub does not exist.
	HubGone Phase = "HubGone"
	// GroupGone means that the event hub exists and the consumer group does not.
	GroupGone Phase = "GroupGone"
	// Busy was turned away because of the hub's load or limits.
	Busy Phase = "Busy"
	// Unavailable cannot be reached, or breaks off.
	Unavailable Phase = "Unavailable"
	// StoreFailed cannot read or write its checkpoint.
	StoreFailed Phase = "StoreFailed"
)

// conditions maps what a service says when it refuses a link to what that means for a reader.
var conditions = map[amqp.ErrCond]Phase{
	amqp.ErrCondUnauthorizedAccess:                Unauthorized,
	amqp.ErrCondNotFound:                          GroupGone,
	amqp.ErrCond("com.microsoft:entity-disabled"): HubGone,
	amqp.ErrCondResourceLimitExceeded:             Busy,
	amqp.ErrCond("com.microsoft:server-busy"):     Busy,
	amqp.ErrCondStolen:                            Taken,
}

// phaseOf classifies the failure of a link or a connection. Unknown is transient.
func phaseOf(err error) Phase {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.phase
	}
	if entra.IsRefused(err) {
		return Unauthorized
	}
	if e, ok := errors.AsType[*azeventhubs.Error](err); ok {
		switch e.Code {
		case azeventhubs.ErrorCodeOwnershipLost:
			return Taken
		case azeventhubs.ErrorCodeUnauthorizedAccess:
			return Unauthorized
		}
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return HubGone
	}
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		if phase, ok := conditions[e.Condition]; ok {
			return phase
		}
	}
	return Unavailable
}

// managementPhase classifies the failure of a management request. Its answers carry HTTP-like codes.
func managementPhase(err error) Phase {
	var answer interface{ RPCCode() int }
	if errors.As(err, &answer) {
		switch answer.RPCCode() {
		case http.StatusUnauthorized:
			return Unauthorized
		case http.StatusNotFound:
			return HubGone
		}
	}
	if phase := phaseOf(err); phase != GroupGone { // no consumer group is involved yet
		return phase
	}
	return HubGone
}

// isPositionError reports a place that the service cannot read from, as after a failover of a geo-replicated namespace.
func isPositionError(err error) bool {
	e, ok := errors.AsType[*amqp.Error](err)
	return ok && (e.Condition == "com.microsoft:georeplication:invalid-offset" || e.Condition == "com.microsoft:argument-error")
}
