// Package simulator is an Azure IoT Hub on this machine, for tests and demonstrations.
//
// It is layered. Each layer knows only those before it:
//
//	jsontree   JSON with order and verbatim numbers
//	hub        state and rules: identities, device twins, digital twins; announces committed changes
//	query      the query language
//	auth       shared access signatures and policies
//	faults     which calls go wrong, and how
//	calls      the call log
//	fleet      configurations and jobs, which write to many twins
//	rest       the HTTPS front end
//	devices    virtual IoT Plug and Play devices
//	eventhub   an Event Hub's log: partitions, positions
//	amqp       the AMQP 1.0 front end of such a log
//	routing    makes events of what happens in the hub, and lets them go wrong
//	simulator  all of it started, with a debug API and its client
//
// The rules are an independent reading of Microsoft's documentation and of recorded responses: nothing is shared with the
// operator's own model of a twin, or its tests would prove nothing.
package simulator
