package twin

import "encoding/json"

// What decoded JSON takes of memory, in bytes, beside its texts. Rough: whoever bounds memory by it leaves some of it free.
const (
	leafBytes   = 320
	scalarBytes = 16
	textBytes   = 16
	listBytes   = 48
	objectBytes = 64
	fieldBytes  = 36
	// leastFields is how many an object has room for that has any.
	leastFields = 8
)

// Exceeds reports whether the twin takes more memory than a number of bytes, roughly. It looks at no more of the twin than it
// has to.
func (t *Twin) Exceeds(limit int) bool {
	left := limit - len(t.Status) - len(t.StatusReason)
	for name := range t.Components {
		left -= leafBytes + len(name)
	}
	left -= leafBytes * len(t.Unmarked)
	for leaf, p := range t.Properties {
		left -= leafBytes + len(leaf.Component) + len(leaf.Name)
		if p.Desired != nil {
			left = without(left, p.Desired.Value) - len(p.Desired.By)
		}
		if r := p.Reported; r != nil {
			left = without(left, r.Value)
			_, isObject := r.Value.(map[string]any)
			for key, field := range r.Envelope {
				if key != envelopeValue || isObject { // it is counted, unless it is another one for its leftovers
					left = without(left-fieldBytes-len(key), field)
				}
			}
			if r.Ack != nil {
				left -= len(r.Ack.Description)
			}
		}
		if left < 0 {
			break
		}
	}
	return left < 0
}

// Without is what is left of a number of bytes without what the notification takes of memory,
// roughly. Below zero it is no more than that.
func (n *Notification) Without(left int) int {
	for _, p := range n.patches() {
		if left = without(left, p.section.fields); left < 0 { // the metadata is one of them
			break
		}
	}
	return left
}

// without is what is left without a value. Below zero it is no more than that.
func without(left int, value any) int {
	left -= scalarBytes
	switch v := value.(type) {
	case string:
		left -= textBytes + len(v)
	case json.Number:
		left -= textBytes + len(v)
	case []any:
		left -= listBytes
		for i := 0; left >= 0 && i < len(v); i++ {
			left = without(left, v[i])
		}
	case map[string]any:
		left -= objectBytes
		if len(v) > 0 {
			left -= fieldBytes * max(0, leastFields-len(v))
		}
		for key, field := range v {
			if left = without(left-fieldBytes-len(key), field); left < 0 {
				break
			}
		}
	}
	return left
}
