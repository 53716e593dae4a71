package fleet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// recordedWorld is a fleet in the middle of a rollout, all of it on record.
func recordedWorld(t fataler) *world {
	w := newWorld(t, 6, enforcing(), map[string]any{"x": num(1), "o": map[string]any{"k": "v"}})
	w.settle(time.Minute)
	w.devices["d03"].code = 400
	w.edit(map[string]any{"x": num(2)})
	w.settle(time.Minute)
	a := w.fleet.Flush(w.now)
	w.store(a)
	w.apply(Flushed{Number: a.Number})
	w.record()
	return w
}

func (w *world) objects() (all []Object) {
	for _, name := range sortedNames(w.stored) {
		all = append(all, w.stored[name])
	}
	return all
}

func sortedNames(stored map[string]Object) []string {
	set := map[string]bool{}
	for name := range stored {
		set[name] = true
	}
	return sortedKeys(set)
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	w := recordedWorld(t)
	loaded, problems := Load(w.who(), w.spec, w.declared, &w.status, w.objects())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	loaded.Apply(w.now, Stream{Healthy: true})
	var status v1alpha1.DeviceFleetStatus
	loaded.Summary(&status)
	status.Failures = w.status.Failures // texts of devices are not on record
	if diff := cmp.Diff(w.status, status); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, m := range w.fleet.members.all {
		_, got := loaded.members.find(m.id)
		want, is := *m, *got
		if is.etag != want.etag || is.desired != want.desired || is.base != want.base || is.wroteAt != want.wroteAt || is.batch != want.batch ||
			is.code != want.code || len(is.facts.list) != len(want.facts.list) || is.is(flagWritten) != want.is(flagWritten) {
			t.Errorf("%s: got %+v, want %+v", m.id, is, want)
		}
	}
}

func TestARecordThatCannotBeUsedSaysWhy(t *testing.T) {
	w := recordedWorld(t)
	data := w.stored["members-0"].Data
	other := func(change func(*Identity)) Identity {
		who := w.who()
		change(&who)
		return who
	}
	older := bytes.Clone(data)
	older[len(magic)] = layout + 1
	flipped := bytes.Clone(data)
	flipped[len(flipped)-3] ^= 0xff
	for name, c := range map[string]struct {
		data []byte
		who  Identity
		want error
	}{
		"as it is":                      {data, w.who(), nil},
		"empty":                         {nil, w.who(), ErrTruncated},
		"truncated in its head":         {data[:8], w.who(), ErrTruncated},
		"truncated":                     {data[:len(data)-1], w.who(), ErrTruncated},
		"damaged":                       {flipped, w.who(), ErrTruncated},
		"of another version":            {older, w.who(), ErrVersion},
		"of a fleet that was remade":    {data, other(func(i *Identity) { i.UID = "uid-2" }), ErrForeign},
		"of another hub":                {data, other(func(i *Identity) { i.Hub = "other" }), ErrForeign},
		"a revision in a shard's place": {w.stored["revision-"+w.fleet.wantedRevision().name].Data, w.who(), ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := decodeMembers(c.data, c.who, v1alpha1.ShardMembers); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestAShardHasThousandsOfMembersInAFewKilobytes(t *testing.T) {
	s := New(Identity{UID: "u", Hub: "h"}, enforcing(), declaring(map[string]any{"x": num(1)}))
	var slots []slot
	for i := range shardMembers {
		id := "line-3-ctrl-" + strings.Repeat("0", 4) + string(rune('0'+i%10)) + num(i).String()
		at := s.join(epoch, id)
		s.change(epoch, at, func(m *member) { s.observe(epoch, at, m, rowOf(id), false) })
		slots = append(slots, at)
	}
	if size := len(s.encodeMembers(v1alpha1.ShardMembers, 1, s.sortedSlots(slots), nil)); size > 120<<10 {
		t.Errorf("%d bytes", size)
	}
}

// sealed wraps raw data, so that fuzzing gets behind the checksum.
func sealed(raw []byte) []byte { return seal(raw) }

func FuzzDecodeMembers(f *testing.F) {
	w := recordedWorld(f)
	for _, o := range w.stored {
		raw, err := unseal(o.Data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, true)
		f.Add(o.Data, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, isRaw bool) {
		if isRaw {
			data = sealed(data)
		}
		for _, content := range []v1alpha1.ShardContent{v1alpha1.ShardMembers, v1alpha1.ShardJournal} {
			p, err := decodeMembers(data, w.who(), content)
			if err != nil && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrVersion) {
				t.Fatalf("an error of another kind: %v", err)
			}
			if err == nil && len(p.records) > len(data)*1032 {
				t.Fatalf("%d records of %d bytes", len(p.records), len(data))
			}
		}
		_, _, _ = decodeRevision(data, w.who())
		s, _ := Load(w.who(), w.spec, w.declared, &w.status, []Object{{Name: "members-0", Content: v1alpha1.ShardMembers, Data: data}})
		s.Apply(w.now, Stream{Healthy: true})
		s.Next(w.now)
	})
}

func TestALengthThatLiesIsNotAllocated(t *testing.T) {
	raw := binary.AppendUvarint(nil, 1<<40)
	data := seal(raw)
	if _, err := decodeMembers(data, Identity{}, v1alpha1.ShardMembers); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	head := append([]byte(magic), layout)
	head = binary.BigEndian.AppendUint32(head, crc32.ChecksumIEEE(nil))
	head = binary.BigEndian.AppendUint32(head, 1<<31)
	if _, err := unseal(head); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
}
