package fleet

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TagAt returns the tag at a key, whose parts are joined by dots, nil if there is none.
func TagAt(tags map[string]any, key string) any {
	var at any = tags
	for name := range strings.SplitSeq(key, ".") {
		fields, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = fields[name]
	}
	return at
}

// scalarOf returns the text by which scalars are compared: the same exactly for equal ones of one
// type, "" for anything else. Tags that are objects or arrays equal nothing.
func scalarOf(tag any) string {
	switch tag := tag.(type) {
	case string:
		return "s" + tag
	case bool:
		return "b" + strconv.FormatBool(tag)
	case json.Number:
		return "n" + twin.Digest(tag)
	case nil:
		return ""
	default:
		return "o" // is there, and equals no text, number or boolean
	}
}

// wantedScalar is scalarOf of a value in a spec.
func wantedScalar(v intstr.IntOrString) string {
	if v.Type == intstr.String {
		return scalarOf(v.StrVal)
	}
	return scalarOf(json.Number(strconv.Itoa(int(v.IntVal))))
}

// tagTest is one condition on one tag.
type tagTest struct {
	key      string
	operator v1alpha1.TagOperator
	values   []string // by scalarOf
}

// holds reports whether a tag meets the condition. It is given by scalarOf.
func (t tagTest) holds(tag string) bool {
	switch t.operator {
	case v1alpha1.TagIn:
		return tag != "" && slices.Contains(t.values, tag)
	case v1alpha1.TagNotIn:
		return !slices.Contains(t.values, tag)
	case v1alpha1.TagExists:
		return tag != ""
	case v1alpha1.TagDoesNotExist:
		return tag == ""
	case v1alpha1.TagIsTrue:
		return tag == scalarOf(true)
	case v1alpha1.TagIsFalse:
		return tag == scalarOf(false)
	}
	return false
}

func testsOf(match map[string]intstr.IntOrString, expressions []v1alpha1.TagExpression) (tests []tagTest) {
	for _, key := range slices.Sorted(maps.Keys(match)) {
		tests = append(tests, tagTest{key, v1alpha1.TagIn, []string{wantedScalar(match[key])}})
	}
	for _, e := range expressions {
		t := tagTest{key: e.Key, operator: e.Operator}
		for _, v := range e.Values {
			t.values = append(t.values, wantedScalar(v))
		}
		tests = append(tests, t)
	}
	return tests
}

// tagSet is what a member has of the tags that a spec names, and its model. Members share it.
type tagSet struct {
	model string
	// values are by the order of Selector.keys, each by scalarOf.
	values []string
}

// sharedTags has each set once. Sets are small and few, or one a member at most: none is released.
type sharedTags map[string]*tagSet

func (s sharedTags) use(model string, values []string) *tagSet {
	var key strings.Builder
	for _, v := range append([]string{model}, values...) {
		key.WriteString(strconv.Itoa(len(v)))
		key.WriteByte(':')
		key.WriteString(v)
	}
	set, ok := s[key.String()]
	if !ok {
		set = &tagSet{model, values}
		s[key.String()] = set
	}
	return set
}

// cutKey splits a key at its first dot.
func cutKey(key string) (name, rest string, isDeeper bool) { return strings.Cut(key, ".") }
