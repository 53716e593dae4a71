package session

// Model is the model that the device has, as far as it is known: it was read since the start, and
// nothing has cast doubt on it.
func (d *Device) Model() (id string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.model, !d.modelUnknown() && !d.doubtful()
}
