package fleet

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
)

// place is where a member stands in the order of a fleet: by its group, then by its id.
type place struct{ group, id uint64 }

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.id, b.id))
}

// placeOf hashes id and group, salted with the fleet, so that not the same devices are the first of
// every fleet. A member without the tag of groupBy is a group of its own.
func placeOf(salt, group, id string, isGrouped bool) place {
	if !isGrouped {
		return place{id: hashOf(salt, id)}
	}
	if group == "" {
		return place{group: hashOf(salt+"\x00id", id), id: hashOf(salt, id)}
	}
	return place{group: hashOf(salt+"\x00group", group), id: hashOf(salt, id)}
}

// hashOf is FNV-1a, stirred: names that differ in their last digit lie far apart.
func hashOf(salt, text string) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(salt))
	sum.Write([]byte{0})
	sum.Write([]byte(text))
	h := sum.Sum64()
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// String is the form on record, 32 hexadecimal digits.
func (p place) String() string {
	raw := binary.BigEndian.AppendUint64(nil, p.group)
	return hex.EncodeToString(binary.BigEndian.AppendUint64(raw, p.id))
}

// parsePlace reads what String wrote.
func parsePlace(text string) (p place, ok bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 16 {
		return place{}, false
	}
	return place{binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])}, true
}

// Share is a number of devices, or a part of them in thousandths of a percent.
type Share struct {
	Count     int
	Part      int // of 100,000
	IsPercent bool
}

// perCent is one percent as a Part.
const perCent = 1000

// ParseShare reads a number, or a percentage like "2.5%" with up to three digits after the point.
func ParseShare(text string) (Share, bool) {
	number, isPercent := strings.CutSuffix(text, "%")
	if !isPercent {
		n, err := strconv.Atoi(text)
		return Share{Count: n}, err == nil && n >= 0
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > 100 {
		return Share{}, false
	}
	return Share{Part: int(math.Round(v * perCent)), IsPercent: true}, true
}

// up returns the share of n, rounded up.
func (s Share) up(n int) int {
	if !s.IsPercent {
		return min(s.Count, n)
	}
	return (n*s.Part + 100*perCent - 1) / (100 * perCent)
}

// down returns the share of n, rounded down.
func (s Share) down(n int) int {
	if !s.IsPercent {
		return s.Count
	}
	return n * s.Part / (100 * perCent)
}
