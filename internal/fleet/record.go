package fleet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// memberRecord is a member on record, by the texts that its numbers stand for.
type memberRecord struct {
	id    string
	model string
	tags  []string
	facts []factRecord
	m     member // what has no numbers of a State
	rev   string
	sent  string
	// number is that of the flush that stored it, isGone true for one that is no member any more.
	number    int64
	isGone    bool
	inJournal bool
}

// factRecord is a fact, its value by digest; "" is absent, foreignDigest foreign.
type factRecord struct {
	leaf   twin.Leaf
	digest string
	fact   leafFact
}

const foreignDigest = "?"

// part is one object of the record.
type part struct {
	number  int64
	rollout int64
	keys    []string
	records []memberRecord
}

// head writes what every part begins with.
func (s *State) head(content v1alpha1.ShardContent, number int64) *encoder {
	e := &encoder{}
	e.text(s.who.UID)
	e.text(s.who.Hub)
	e.text(string(content))
	e.signed(number)
	e.signed(s.rollout.number)
	return e
}

// readHead checks what a part begins with.
func readHead(data []byte, who Identity, content v1alpha1.ShardContent) (*decoder, int64, int64, error) {
	raw, err := unseal(data)
	if err != nil {
		return nil, 0, 0, err
	}
	d := &decoder{raw: raw}
	uid, hub, is := d.text(), d.text(), d.text()
	number, rollout := d.signed(), d.signed()
	switch {
	case d.bad:
		return nil, 0, 0, ErrTruncated
	case uid != who.UID:
		return nil, 0, 0, fmt.Errorf("%w: its UID is %q", ErrForeign, cutText(uid))
	case hub != who.Hub:
		return nil, 0, 0, fmt.Errorf("%w: it is about the hub %q", ErrForeign, cutText(hub))
	case is != string(content):
		return nil, 0, 0, fmt.Errorf("%w: its content is %q", ErrForeign, cutText(is))
	}
	return d, number, rollout, nil
}

func cutText(text string) string { return text[:min(len(text), 100)] }

// encodeMembers writes members in columns. gone are ids that are no members any more.
func (s *State) encodeMembers(content v1alpha1.ShardContent, number int64, slots []slot, gone []string) []byte {
	e := s.head(content, number)
	texts, lists := &dictionary{}, &dictionary{}
	body := &encoder{}
	for _, key := range s.selector.keys {
		texts.number(key)
	}
	body.number(uint64(len(slots)))
	previous := ""
	for _, at := range slots {
		id := s.members.at(at).id
		shared := commonPrefix(previous, id)
		body.number(uint64(shared)) //nolint:gosec // not negative
		body.text(id[shared:])
		previous = id
	}
	for _, column := range s.columns(texts, lists) {
		for _, at := range slots {
			column(body, s.members.at(at))
		}
	}
	body.number(uint64(len(gone)))
	for _, id := range gone {
		body.text(id)
	}
	e.number(uint64(len(s.selector.keys)))
	texts.write(e)
	lists.write(e)
	return seal(append(e.raw, body.raw...))
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// columns write one field of a member each.
func (s *State) columns(texts, lists *dictionary) []func(*encoder, *member) {
	revision := func(e *encoder, id revisionID) {
		name := ""
		if r := s.revisions[id]; r != nil {
			name = r.name
		}
		e.number(texts.number(name))
	}
	return []func(*encoder, *member){
		numberOnce(func(m *member) *tagSet { return m.tags }, func(m *member) uint64 { return lists.number(s.tagList(m, texts)) }),
		numberOnce(func(m *member) *facts { return m.facts }, func(m *member) uint64 { return lists.number(s.factList(m, texts)) }),
		func(e *encoder, m *member) { e.number(m.etag) },
		func(e *encoder, m *member) { e.signed(m.desired) },
		func(e *encoder, m *member) { e.signed(m.desired - m.base) },
		func(e *encoder, m *member) { e.signed(m.version - m.desired) },
		func(e *encoder, m *member) { e.signed(m.desiredAt) },
		func(e *encoder, m *member) { e.signed(m.reportedAt) },
		func(e *encoder, m *member) { e.number(uint64(m.deviceEtag)) },
		func(e *encoder, m *member) { e.number(uint64(m.wroteAt)) },
		func(e *encoder, m *member) { e.number(uint64(m.answeredAt)) },
		func(e *encoder, m *member) { e.number(uint64(m.seenAt)) },
		func(e *encoder, m *member) { e.number(uint64(s.spentOf(m))) },
		func(e *encoder, m *member) { e.number(uint64(s.leftOf(m))) },
		func(e *encoder, m *member) { e.number(uint64(s.recordedFlags(m))) },
		func(e *encoder, m *member) { e.signed(int64(m.code)) },
		func(e *encoder, m *member) { revision(e, m.rev) },
		func(e *encoder, m *member) { revision(e, m.sent) },
		func(e *encoder, m *member) { e.number(uint64(m.batch)) },
	}
}

// numberOnce writes the number of what members share, which is made once for all of them.
func numberOnce[T comparable](shared func(*member) T, number func(*member) uint64) func(*encoder, *member) {
	known := map[T]uint64{}
	return func(e *encoder, m *member) {
		n, ok := known[shared(m)]
		if !ok {
			n = number(m)
			known[shared(m)] = n
		}
		e.number(n)
	}
}

// recordedFlags leaves a doubt on record as one that the twin is not known for.
func (s *State) recordedFlags(m *member) flags {
	f := m.flags & recorded
	if m.is(flagDoubtful) {
		f |= flagDoubtful
	}
	return f
}

func (s *State) spentOf(m *member) uint32 {
	if m.is(flagWaiting) {
		return m.spent + s.clock.seconds() - m.since
	}
	return m.spent
}

// leftOf is how long a member may still take at the most, 0 if its time has not begun.
func (s *State) leftOf(m *member) uint32 {
	if m.limit == 0 {
		return 0
	}
	return max(m.limit, s.clock.seconds()+1) - s.clock.seconds()
}

// tagList and factList pack lists of numbers of texts.
func (s *State) tagList(m *member, texts *dictionary) string {
	e := &encoder{}
	e.number(texts.number(m.tags.model))
	for _, v := range m.tags.values {
		e.number(texts.number(v))
	}
	return string(e.raw)
}

func (s *State) factList(m *member, texts *dictionary) string {
	e := &encoder{}
	if m.facts == nil {
		return ""
	}
	for _, f := range m.facts.list {
		leaf := s.words.leaves[f.leaf]
		e.number(texts.number(leaf.Component))
		e.number(texts.number(leaf.Name))
		e.number(texts.number(s.digestOf(f.value)))
		e.number(uint64(packFlags(f)))
		e.number(uint64(f.behind))
	}
	return string(e.raw)
}

func packFlags(f leafFact) uint16 {
	flags := uint16(f.answer)
	if f.ours {
		flags |= factOurs
	}
	if f.overwrote {
		flags |= factOverwrote
	}
	return flags
}

func (s *State) digestOf(id valueID) string {
	switch id {
	case valueAbsent:
		return ""
	case valueForeign:
		return foreignDigest
	}
	return twin.Digest(s.words.content(id))
}

// decodeMembers reads what encodeMembers wrote.
func decodeMembers(data []byte, who Identity, content v1alpha1.ShardContent) (*part, error) {
	d, number, rollout, err := readHead(data, who, content)
	if err != nil {
		return nil, err
	}
	p := &part{number: number, rollout: rollout}
	keys := d.count()
	texts := d.texts()
	lists := d.texts()
	if d.bad || keys > len(texts) {
		return nil, ErrTruncated
	}
	p.keys = texts[:keys]
	p.records = make([]memberRecord, d.count())
	previous := ""
	for i := range p.records {
		shared := d.index(len(previous) + 1)
		p.records[i].id = previous[:shared] + d.text()
		p.records[i].number, p.records[i].inJournal = number, content == v1alpha1.ShardJournal
		previous = p.records[i].id
	}
	p.readColumns(d, texts, lists)
	for range d.count() {
		p.records = append(p.records, memberRecord{id: d.text(), number: number, isGone: true})
	}
	if d.bad || len(d.raw) > 0 {
		return nil, ErrTruncated
	}
	return p, nil
}

func (p *part) readColumns(d *decoder, texts, lists []string) {
	text := func() string {
		if i := d.index(len(texts)); i < len(texts) {
			return texts[i]
		}
		return ""
	}
	list := func() string {
		if i := d.index(len(lists)); i < len(lists) {
			return lists[i]
		}
		return ""
	}
	small := func() uint32 { return uint32(min(d.number(), 1<<32-1)) }
	for _, column := range []func(*memberRecord){
		func(r *memberRecord) { r.model, r.tags = readTags(d, list(), texts) },
		func(r *memberRecord) { r.facts = readFacts(d, list(), texts) },
		func(r *memberRecord) { r.m.etag = d.number() },
		func(r *memberRecord) { r.m.desired = d.signed() },
		func(r *memberRecord) { r.m.base = r.m.desired - d.signed() },
		func(r *memberRecord) { r.m.version = r.m.desired + d.signed() },
		func(r *memberRecord) { r.m.desiredAt = d.signed() },
		func(r *memberRecord) { r.m.reportedAt = d.signed() },
		func(r *memberRecord) { r.m.deviceEtag = small() },
		func(r *memberRecord) { r.m.wroteAt = small() },
		func(r *memberRecord) { r.m.answeredAt = small() },
		func(r *memberRecord) { r.m.seenAt = small() },
		func(r *memberRecord) { r.m.spent = small() },
		func(r *memberRecord) { r.m.limit = small() },
		func(r *memberRecord) { r.m.flags = flags(small()) & (recorded | flagDoubtful) },
		func(r *memberRecord) { r.m.code = clampCode(d.signed()) },
		func(r *memberRecord) { r.rev = text() },
		func(r *memberRecord) { r.sent = text() },
		func(r *memberRecord) { r.m.batch = uint8(d.index(1 << 8)) }, //nolint:gosec // below 256
	} {
		for i := range p.records {
			column(&p.records[i])
		}
	}
}

func readTags(outer *decoder, list string, texts []string) (model string, tags []string) {
	d := &decoder{raw: []byte(list)}
	for i := 0; len(d.raw) > 0 && !d.bad; i++ {
		n := d.index(len(texts))
		switch {
		case d.bad:
			outer.bad = true
		case i == 0:
			model = texts[n]
		default:
			tags = append(tags, texts[n])
		}
	}
	return model, tags
}

func readFacts(outer *decoder, list string, texts []string) (all []factRecord) {
	d := &decoder{raw: []byte(list)}
	for len(d.raw) > 0 && !d.bad {
		component, name, digest := d.index(len(texts)), d.index(len(texts)), d.index(len(texts))
		flags, behind := d.number(), d.number()
		if d.bad || flags > factAnswer|factOurs|factOverwrote || answer(flags&factAnswer) > answerRejected || behind >= 1<<32 {
			outer.bad = true
			return nil
		}
		all = append(all, factRecord{
			leaf: twin.Leaf{Component: texts[component], Name: texts[name]}, digest: texts[digest],
			fact: leafFact{ours: flags&factOurs != 0, overwrote: flags&factOverwrote != 0, answer: answer(flags & factAnswer), behind: uint32(behind)},
		})
	}
	return all
}

// encodeRevision writes what a revision declares.
func (s *State) encodeRevision(r *revision) []byte {
	e := s.head(v1alpha1.ShardRevision, 0)
	e.text(r.name)
	e.number(uint64(len(r.wants)))
	for _, w := range r.wants {
		leaf := s.words.leaves[w.leaf]
		e.text(leaf.Component)
		e.text(leaf.Name)
		e.text(string(twin.EncodeValue(s.words.content(w.value))))
	}
	return seal(e.raw)
}

// decodeRevision reads what encodeRevision wrote.
func decodeRevision(data []byte, who Identity) (name string, d twin.Declaration, err error) {
	r, _, _, err := readHead(data, who, v1alpha1.ShardRevision)
	if err != nil {
		return "", nil, err
	}
	name, d = r.text(), twin.Declaration{}
	for range r.count() {
		leaf := twin.Leaf{Component: r.text(), Name: r.text()}
		value, err := twin.DecodeValue([]byte(r.text()))
		if err != nil || value == nil {
			return "", nil, ErrTruncated
		}
		d[leaf] = value
	}
	if r.bad || len(r.raw) > 0 || !strings.HasSuffix(name, "-"+RevisionHash(d)) {
		return "", nil, ErrTruncated
	}
	return name, d, nil
}

// sortedSlots orders members by id, so that prefixes are shared.
func (s *State) sortedSlots(slots []slot) []slot {
	sorted := slices.Clone(slots)
	slices.SortFunc(sorted, func(a, b slot) int { return strings.Compare(s.members.at(a).id, s.members.at(b).id) })
	return sorted
}
