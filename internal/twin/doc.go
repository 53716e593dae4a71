// Package twin is what the operator knows about a device twin, without any I/O: it reads either dialect of the hub's REST
// API into one model, compares it with a declaration, writes the patch that makes the hub hold the declaration, and judges
// how far the device has come. Between reads it keeps up by the hub's notifications: Position.Order places one, Fold applies it.
//
// Ownership is per leaf: a leaf is one named property of one component, and its value, however nested, is sent and compared
// whole. Leaves that a declaration neither names nor claims are foreign and never part of a patch.
//
// Values are decoded JSON with exact numbers: nil, bool, string, json.Number, []any and map[string]any. They are shared
// between twins, plans and declarations, so nobody may change one in place.
package twin
