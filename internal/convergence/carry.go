package convergence

import (
	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Carries reports whether the pass, which did not get as far as its twin, is to have status show
// what memory alone knows to be the object's: the IoTHub cannot be used, the declaration has moved
// to another one, or it is invalid. A start would know nothing of it.
func (s *State) Carries() bool {
	is := s.Device.Status.Twin
	return s.Twin == nil && is != nil && is.Etag != ""
}

// Carry has status show that, as memory of the twin has it that status is about. isThere is false
// of the memory of another destination of that hub. It returns a state whose duties concern that
// memory.
func (s *State) Carry(memory *twin.Remembered, isThere bool) *State {
	is := s.Device.Status.Twin
	declared, err := declaration.Of(&s.Device.Spec)
	if err != nil { // it declares nothing that can be read
		declared = twin.Declaration{}
	}
	c := New(Facts{
		Device: s.Device, Now: s.Now, Destination: is.Hub, Memory: memory,
		Hub: &v1alpha1.IoTHub{Spec: v1alpha1.IoTHubSpec{HostName: is.HostName()}},
	})
	c.Declared = declared
	c.Recall(true)
	c.adopt(c.newest())
	c.recordAttempts()
	c.Describe()
	s.Device.Status.Twin.Unconfirmed = is.Unconfirmed || !isThere || c.IsUnconfirmed || len(memory.Attempts()) > 0
	return c
}
