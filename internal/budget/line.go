package budget

import "time"

// grace is how much later than told somebody may come back before the place is given up: a work queue adds its own delay.
const grace = 30 * time.Second

// place is that of somebody who was turned away.
type place struct {
	key   string
	from  float64 // tokens asked for by all who ever came before
	size  float64
	since time.Time
	until time.Time // given up then
	left  bool
}

// line is the places of one priority, the first one first. The zero value is ready to use.
type line struct {
	places  map[string]*place
	order   []*place // those who left are dropped when they get to the front
	waiting float64  // tokens that those in the line ask for
	asked   float64  // tokens that all who ever came asked for
}

// ahead is how many tokens those before a key ask for, all in the line if it has no place. It may be too many by those who left out of turn, until the front
// of the line gets there.
func (l *line) ahead(key string) float64 {
	p := l.places[key]
	if p == nil {
		return l.waiting
	}
	return min(p.from-l.order[0].from, l.waiting-p.size)
}

// hold keeps the place of a key, at the end if it is new, for as long as it is expected back. It returns since when the key has been waiting.
func (l *line) hold(key string, size float64, since, until time.Time) *place {
	p := l.places[key]
	if p == nil {
		if l.places == nil {
			l.places = map[string]*place{}
		}
		p = &place{key: key, from: l.asked, size: size, since: since}
		l.places[key] = p
		l.order = append(l.order, p)
		l.asked += size
		l.waiting += size
	}
	p.until = until
	return p
}

// leave gives up the place of a key, if it has one, and returns it.
func (l *line) leave(key string) *place {
	p := l.places[key]
	if p != nil {
		p.left = true
		delete(l.places, key)
		l.waiting -= p.size
		l.trim()
	}
	return p
}

// expire gives up the places at the front whose owners did not come back.
func (l *line) expire(now time.Time) {
	for len(l.order) > 0 && now.After(l.order[0].until) {
		l.leave(l.order[0].key)
	}
}

// trim has the front of the line be somebody who is there.
func (l *line) trim() {
	n := 0
	for n < len(l.order) && l.order[n].left {
		l.order[n] = nil
		n++
	}
	l.order = l.order[n:]
	if len(l.order) == 0 {
		l.order, l.waiting = nil, 0
	}
}
