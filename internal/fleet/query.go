package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// maxQuery is how many characters a query may have; the hub takes 8,192.
const maxQuery = 8000

// Quote writes a text as a literal of the hub's query language: in single quotes, which are doubled
// within, so that nothing of it is read as anything else. Of a text that has a backslash or a
// control character it is not known how a hub reads it: it cannot be quoted.
func Quote(text string) (string, bool) {
	for _, r := range text {
		if r < ' ' || r == '\\' || r == 0x7f {
			return "", false
		}
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'", true
}

// bracketed writes a path such as tags.location.plant, or of names that are no identifiers, which
// the language takes in double brackets.
func bracketed(names ...string) (string, bool) {
	var path strings.Builder
	for i, name := range names {
		switch {
		case isIdentifier(name) && i > 0:
			path.WriteString("." + name)
		case isIdentifier(name):
			path.WriteString(name)
		case strings.ContainsAny(name, "[]") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
			return "", false
		default:
			path.WriteString(".[[" + name + "]]")
		}
	}
	return path.String(), true
}

func isIdentifier(name string) bool {
	for i, r := range name {
		isLetter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !isLetter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// literal writes a scalar of the query language.
func literal(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return Quote(value)
	case bool:
		return strconv.FormatBool(value), true
	case json.Number:
		return value.String(), true
	}
	return "", false
}

// MembershipQuery returns a query whose rows include every member: a superset, since what cannot be
// asked for safely is left out, and Selector decides. Rows are projected to what a listing needs.
func MembershipQuery(spec *v1alpha1.DeviceFleetSpec) (string, error) {
	projected := []string{"deviceId", "etag", "deviceEtag", "version", "connectionState", "status", "modelId", "tags"}
	where := conditions(&spec.Selector)
	query := "SELECT " + strings.Join(projected, ", ") + " FROM devices"
	if len(where) == 0 {
		return query, nil
	}
	query += " WHERE " + strings.Join(where, " AND ")
	if len(query) > maxQuery {
		return "", fmt.Errorf("%w: the selector makes a query of %d characters, want at most %d", errQueryTooLong, len(query), maxQuery)
	}
	return query, nil
}

var errQueryTooLong = errors.New("the query is too long")

// conditions are those of a selector that the language can express without a doubt. NotIn,
// DoesNotExist and whatever cannot be quoted are left to Selector.
func conditions(s *v1alpha1.FleetSelector) (where []string) {
	if s.ModelID != "" {
		if text, ok := Quote(s.ModelID); ok {
			where = append(where, "modelId = "+text)
		}
	}
	for _, t := range testsInOrder(s) {
		if text, ok := t.condition(); ok {
			where = append(where, text)
		}
	}
	return where
}

// askedTest is a condition with its values as the spec has them.
type askedTest struct {
	key      string
	operator v1alpha1.TagOperator
	values   []intstr.IntOrString
}

func testsInOrder(s *v1alpha1.FleetSelector) (all []askedTest) {
	for _, t := range testsOf(s.MatchTags, nil) {
		all = append(all, askedTest{t.key, v1alpha1.TagIn, []intstr.IntOrString{s.MatchTags[t.key]}})
	}
	for _, e := range s.MatchExpressions {
		all = append(all, askedTest{e.Key, e.Operator, e.Values})
	}
	return all
}

func (t askedTest) condition() (string, bool) {
	path, ok := bracketed(append([]string{"tags"}, strings.Split(t.key, ".")...)...)
	if !ok {
		return "", false
	}
	switch t.operator {
	case v1alpha1.TagExists:
		return "IS_DEFINED(" + path + ")", true
	case v1alpha1.TagIsTrue:
		return path + " = true", true
	case v1alpha1.TagIsFalse:
		return path + " = false", true
	case v1alpha1.TagIn:
		return path + " IN [" + strings.Join(literals(t.values), ", ") + "]", len(literals(t.values)) == len(t.values)
	case v1alpha1.TagNotIn, v1alpha1.TagDoesNotExist: // whether they match absent tags differs among hubs
	}
	return "", false
}

func literals(values []intstr.IntOrString) (all []string) {
	for _, v := range values {
		text, ok := strconv.Itoa(int(v.IntVal)), true
		if v.Type == intstr.String {
			text, ok = Quote(v.StrVal)
		}
		if ok {
			all = append(all, text)
		}
	}
	return all
}

// DifferenceQueries returns queries whose rows include every member that does not hold one of the
// values that members are known to hold, leaf by leaf, split so that each is short enough. Objects
// are asked for by their scalar fields; arrays cannot be asked for, and are returned as unasked.
func (s *State) DifferenceQueries() (queries []string, unasked []twin.Leaf) {
	base := conditions(&s.spec.Selector)
	var clauses []string
	flush := func() {
		if len(clauses) > 0 {
			differs := "(" + strings.Join(clauses, " OR ") + ")"
			queries = append(queries, "SELECT deviceId, etag, deviceEtag, version FROM devices WHERE "+strings.Join(slices.Concat(base, []string{differs}), " AND "))
			clauses = nil
		}
	}
	size := 0
	for _, w := range s.wantedRevision().wants {
		leaf := s.words.leaves[w.leaf]
		asked, ok := differs(s.pathOf(leaf), s.heldValues(w.leaf))
		if !ok {
			unasked = append(unasked, leaf)
			continue
		}
		for _, clause := range asked {
			if size += len(clause) + len(" OR "); size > maxQuery-len(strings.Join(base, " AND "))-100 {
				flush()
				size = len(clause)
			}
			clauses = append(clauses, clause)
		}
	}
	flush()
	return queries, unasked
}

func (s *State) pathOf(leaf twin.Leaf) []string {
	if leaf.Component == "" {
		return []string{"properties", "desired", leaf.Name}
	}
	return []string{"properties", "desired", leaf.Component, leaf.Name}
}

// heldValues are the values of a leaf that revisions in use declare.
func (s *State) heldValues(leaf leafID) (values []any) {
	seen := map[valueID]bool{valueAbsent: true}
	for _, r := range s.revisions {
		if r == nil {
			continue
		}
		if id := r.value(leaf); !seen[id] {
			seen[id] = true
			values = append(values, s.words.content(id))
		}
	}
	return values
}

// differs renders the clauses for one path: absent, or none of the values.
func differs(path []string, values []any) (clauses []string, ok bool) {
	var fields []string
	for _, v := range values {
		if object, isObject := v.(map[string]any); isObject {
			for name := range object {
				fields = append(fields, name)
			}
		}
	}
	if len(fields) > 0 {
		return differsInFields(path, values, fields)
	}
	text, ok := bracketed(path...)
	if !ok {
		return nil, false
	}
	var wanted []string
	for _, v := range values {
		l, isScalar := literal(v)
		if !isScalar {
			return nil, false
		}
		wanted = append(wanted, l)
	}
	return []string{"NOT IS_DEFINED(" + text + ") OR " + text + " NIN [" + strings.Join(wanted, ", ") + "]"}, true
}

func differsInFields(path []string, values []any, fields []string) (clauses []string, ok bool) {
	for _, name := range sortedUnique(fields) {
		inner := make([]any, 0, len(values))
		for _, v := range values {
			object, isObject := v.(map[string]any)
			if !isObject || object[name] == nil {
				return nil, false // revisions differ in its shape
			}
			inner = append(inner, object[name])
		}
		found, isAsked := differs(append(slices.Clip(path), name), inner)
		if !isAsked {
			return nil, false
		}
		clauses = append(clauses, found...)
	}
	return clauses, true
}
