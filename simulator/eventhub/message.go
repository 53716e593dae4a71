// Package eventhub is the event log of a simulated Event Hub: partitions that messages are appended to and read from by
// position, without a protocol. Package amqp serves it.
package eventhub

// Message is one event as it enters the hub. The log adds the sequence number, the offset and the enqueued time.
type Message struct {
	// PartitionKey is shown to readers as x-opt-partition-key if it is set, and chooses the partition where the log does.
	PartitionKey string
	Properties   Properties
	// Annotations are the message annotations that the service sets, such as iothub-connection-device-id. Values are
	// string, bool, int32, int64, float64, time.Time or []byte.
	Annotations map[string]any
	// Application are the application properties, with values of the same types.
	Application map[string]any
	Body        []byte
	// Encoded, if set, is the message but for its annotations as a sending client encoded it, instead of Properties,
	// Application and Body.
	Encoded []byte
}

// Properties is the AMQP properties section. Empty fields are left out.
type Properties struct {
	MessageID, CorrelationID, ContentType, ContentEncoding string
	// UserID is binary: a hub was seen to send bytes that are not UTF-8.
	UserID []byte
}
