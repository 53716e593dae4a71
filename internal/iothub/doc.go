// Package iothub is what the operator asks of an IoT hub over its REST API: twins, digital twins and queries.
//
// A Client makes exactly one HTTP request per call. It never retries, follows no redirect and does not replay a request
// on another connection: only its callers know the budget that a second request would need. Every failure is an *Error
// that carries the hub's own code and a Class saying who has to act next.
//
// Shapes, codes and limits come from Microsoft's "IotHub Gateway Service APIs" (REST, version 2021-04-12) and its article
// "Understand and resolve Azure IoT Hub error codes".
package iothub
