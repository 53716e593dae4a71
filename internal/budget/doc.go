// Package budget rations the calls to an IoT hub. Limits of a hub are per hub: whoever calls it takes a token first, and nobody is made to wait in
// the call; who finds none is told when to come back. It is pure: no I/O, no goroutines, and a clock that tests move.
//
// A class of operations has a bucket of tokens. Its rate is what the limits say, halved when the hub refuses, and slowly restored. Four priorities
// draw from it:
//
//   - Each priority leaves a part of the bucket to those above it, so an edit finds a token while a sweep is at its limit.
//   - Each but the highest has a share of the rate that nobody can take from it, so none starves.
//   - Within a priority, who was turned away has a place in a line. Its wait follows from the place: ten thousand waiters come back one by one. A
//     newcomer goes to the end of the line.
//
// Beside the rates there is a number of messages a day, from which the priorities drop out one after the other.
package budget
