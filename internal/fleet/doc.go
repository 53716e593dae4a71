// Package fleet decides what is done about the devices of a DeviceFleet, without any I/O. State
// holds the members, the revisions and the batches; Apply takes in what was heard, Next names one
// thing to do, Summary counts. The only clock is their argument.
//
// A member's record keeps facts and intentions apart. Facts are per leaf: what the hub holds, whose
// it is, and how the device answered. The intention is one revision, `sent`, whose write may or may
// not have happened; it is on record before the write, and becomes a fact by a read, an answer or
// an event alone. Members that hold the same share one list of facts, so that a million of them fit
// into memory.
//
// Values are those of package twin: decoded JSON, shared, and never changed in place.
package fleet
