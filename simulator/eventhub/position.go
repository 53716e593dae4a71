package eventhub

import "sort"

// Key is what a position is a value of.
type Key string

// Keys of positions.
const (
	ByOffset   Key = "offset"
	BySequence Key = "sequence-number"
	ByTime     Key = "enqueued-time" // Unix milliseconds
)

// Find returns the sequence number of the first event whose key is above the value, or equal to it if inclusive.
func (p *Partition) Find(key Key, value int64, inclusive bool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	i := sort.Search(len(p.events), func(i int) bool {
		v := p.events[i].valueOf(key)
		return v > value || inclusive && v == value
	})
	if i == len(p.events) {
		return p.next
	}
	return p.events[i].SequenceNumber
}

// End is the sequence number of the next event; inclusive is that of the last one, if there is one.
func (p *Partition) End(inclusive bool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	if inclusive && len(p.events) > 0 {
		return p.next - 1
	}
	return p.next
}

func (e Event) valueOf(key Key) int64 {
	switch key {
	case BySequence:
		return e.SequenceNumber
	case ByTime:
		return e.Enqueued.UnixMilli()
	default:
		return e.Offset
	}
}
