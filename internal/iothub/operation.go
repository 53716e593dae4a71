package iothub

import "github.com/pnp-operator/pnp-operator/internal/budget"

// Operation is a kind of request. It carries what the hub's limits make of it; its fields are
// private, and newOperation asks for the class, so that there is none without.
type Operation struct {
	name  string
	class budget.Class
	// isMetered is true of one that the hub counts by the size of the request.
	isMetered bool
	// acts is true of one that changes a twin, or has a device do something.
	acts bool
}

// Operations that this package asks a hub for.
var (
	OpGetTwin          = newOperation("GetTwin", budget.TwinRead)
	OpGetDigitalTwin   = newOperation("GetDigitalTwin", budget.TwinRead)
	OpPatchTwin        = newOperation("PatchTwin", budget.TwinWrite).acting()
	OpPatchDigitalTwin = newOperation("PatchDigitalTwin", budget.TwinWrite).acting().metered()
	OpQuery            = newOperation("Query", budget.Query)
	OpInvokeCommand    = newOperation("InvokeCommand", budget.Command).acting().metered()
	OpInvokeMethod     = newOperation("InvokeMethod", budget.Command).acting().metered()
)

func newOperation(name string, class budget.Class) Operation {
	return Operation{name: name, class: class}
}

func (o Operation) acting() Operation {
	o.acts = true
	return o
}

func (o Operation) metered() Operation {
	o.isMetered = true
	return o
}

// String returns the name in errors and metrics.
func (o Operation) String() string { return o.name }

// invokes reports whether a device is asked to run a command.
func (o Operation) invokes() bool { return o.class == budget.Command }

// Class returns the class of requests that the hub throttles it in.
func (o Operation) Class() budget.Class { return o.class }

// Request returns what a request with a body of so many bytes takes of the budget, on nobody's
// behalf.
func (o Operation) Request(bytes int) budget.Request {
	blocks := budget.Blocks(bytes)
	r := budget.Request{Class: o.class, Size: 1, Messages: blocks}
	if o.isMetered {
		r.Size = blocks
	}
	return r
}
