// Package convergence decides what is done about a device, and says how far it has come. A pass
// gives it Facts; Next says what the pass has to do, one step after the other, and Summarise what
// its object says in the end. It does no I/O, asks no clock and remembers nothing: the same facts
// and answers give the same steps and the same status.
package convergence
