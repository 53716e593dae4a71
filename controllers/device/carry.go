package device

// carry has status show what memory alone knows to be the object's, where the pass did not get as
// far as its twin.
func (r *PnPDeviceReconciler) carry(s *scope) {
	if !s.Carries() {
		return
	}
	is := s.Device.Status.Twin
	memory, isThere := r.Hubs.UnsavedAt(is.Hub, is.DeviceID, s.Device.UID)
	if memory == nil {
		return
	}
	c := &scope{State: s.Carry(memory.Remembered(), isThere), memory: memory}
	c.remember()
	s.carried = c
}
