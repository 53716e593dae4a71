package validate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// A manifest passes readers with rules of their own: kubectl and Helm read YAML 1.1, kustomize and Flux something between that
// and YAML 1.2, and the API server keeps JSON numbers as int64 or as doubles. So its text is judged before any of them has read
// it.

// remark is something to tell about a place in the text of an object.
type remark struct {
	line    int // within the document, from 1
	message string
	warning bool
}

const (
	// maxRemarks is how many of one object are told.
	maxRemarks = 20
	// maxQuoted bounds what a remark has of a path or a scalar, in bytes.
	maxQuoted = 512
)

// texts are the nodes of the objects that unlisted finds in a document, in the same order.
func texts(node *yaml.Node) []*yaml.Node {
	if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
		return texts(node.Content[0])
	}
	items := member(node, "items")
	if kind := member(node, "kind"); items == nil || items.Kind != yaml.SequenceNode || kind == nil || !strings.HasSuffix(kind.Value, "List") {
		return []*yaml.Node{node}
	}
	var objects []*yaml.Node
	for _, item := range items.Content {
		if item = meant(item); item.Kind == yaml.MappingNode {
			objects = append(objects, texts(item)...)
		}
	}
	return objects
}

// member is the value of a key, nil if there is none.
func member(node *yaml.Node, key string) *yaml.Node {
	if node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return meant(node.Content[i+1])
		}
	}
	return nil
}

// meant is what an alias stands for.
func meant(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// remarksOn lists what is to be told about the text of an object.
func remarksOn(object *yaml.Node) []remark {
	r := &remarker{}
	r.visit(object, false)
	if r.more > 0 {
		r.found = append(r.found, remark{r.found[0].line, fmt.Sprintf("and %d more of this kind", r.more), true})
	}
	return r.found
}

type remarker struct {
	steps []string // to where it is
	seen  map[*yaml.Node]bool
	found []remark
	more  int
}

func (r *remarker) tellf(at *yaml.Node, warning bool, format string, args ...any) {
	if len(r.found) == maxRemarks {
		r.more++
		return
	}
	path := storable.Text(strings.TrimPrefix(strings.Join(r.steps, ""), "."), maxQuoted)
	r.found = append(r.found, remark{at.Line, path + " " + fmt.Sprintf(format, args...), warning})
}

// visit looks at a node and at what is in it, and once at what has an anchor, where that or an alias of it comes first.
func (r *remarker) visit(node *yaml.Node, isField bool) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Anchor != "" {
		if r.seen[node] {
			return
		}
		if r.seen == nil {
			r.seen = map[*yaml.Node]bool{}
		}
		r.seen[node] = true
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			r.key(node.Content[i])
			r.at("."+node.Content[i].Value, node.Content[i+1], true)
		}
	case yaml.SequenceNode:
		for i, item := range node.Content {
			r.at(fmt.Sprintf("[%d]", i), item, false)
		}
	case yaml.ScalarNode:
		r.scalar(node, isField)
	default:
	}
}

func (r *remarker) at(step string, node *yaml.Node, isField bool) {
	r.steps = append(r.steps, step)
	r.visit(node, isField)
	r.steps = r.steps[:len(r.steps)-1]
}

// key refuses one that is no string to all readers.
func (r *remarker) key(key *yaml.Node) {
	if key.Kind != yaml.ScalarNode || !isPlain(key) || key.Value == "<<" {
		return
	}
	if is := notText(key.Value); is != "" {
		r.tellf(key, false, "has the key %s, which is %s in YAML 1.1 and a text in others, so that kubectl and kustomize may make two keys of it: quote it", quoted(key), is)
	}
}

func (r *remarker) scalar(node *yaml.Node, isField bool) {
	if node.Tag == "!!null" && isField && len(r.steps) > 2 && r.steps[0] == ".spec" && r.steps[1] == ".payload" {
		r.tellf(node, true, "is null, which kubectl apply takes out of objects: have it applied with --server-side")
		return
	}
	if !isPlain(node) {
		return
	}
	switch {
	case booleans[node.Value] != "" && !isTruth(node.Value):
		r.tellf(node, true, "is %s without quotes, the boolean %s to kubectl and a text to kustomize: quote it, or write %[2]s", quoted(node), booleans[node.Value])
	case isRewrittenTime(node):
		r.tellf(node, true, "is %s without quotes, a time to kustomize, which writes it otherwise than kubectl does: quote it", quoted(node))
	case oddNumber.MatchString(node.Value):
		r.tellf(node, true, "is %s without quotes, which is not the same number, or a text, to all readers of YAML: write it plainly, or quote it", quoted(node))
	case wholeNumber.MatchString(node.Value):
		if as, same := storable.KeptNumber(json.Number(strings.TrimPrefix(node.Value, "+"))); !same {
			r.tellf(node, false, "is the integer %s, which Kubernetes keeps as a double and would make %s: integers go from -2^63 to 2^63-1, larger ones as text in quotes", quoted(node), as)
		}
	}
}

func quoted(node *yaml.Node) string { return storable.Text(node.Value, maxQuoted) }

// isPlain reports whether a scalar has neither quotes nor a tag: then its reader decides what it is.
func isPlain(node *yaml.Node) bool {
	return node.Style&(yaml.TaggedStyle|yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

// booleans are those of YAML 1.1.
var booleans = func() map[string]string {
	all := map[string]string{}
	for value, words := range map[string]string{"true": "y yes on true", "false": "n no off false"} {
		for word := range strings.FieldsSeq(words) {
			for _, form := range []string{word, strings.ToUpper(word[:1]) + word[1:], strings.ToUpper(word)} {
				all[form] = value
			}
		}
	}
	return all
}()

// isTruth reports whether a word is a boolean to all readers.
func isTruth(word string) bool {
	return strings.EqualFold(word, "true") || strings.EqualFold(word, "false")
}

var (
	wholeNumber = regexp.MustCompile(`^[-+]?(?:0|[1-9][0-9]*)$`)
	// oddNumber is octal to some, sexagesimal to others: YAML 1.1, "Integer" and "Floating-point".
	oddNumber = regexp.MustCompile(`^[-+]?(?:0[0-9_]+|0o[0-7]+|0b[01_]+|0x[0-9a-fA-F]*_[0-9a-fA-F_]*|[0-9][0-9]*_[0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|[0-9]+\.[0-9]*_[0-9_]*|[1-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)$`)
	number    = regexp.MustCompile(`^[-+]?(?:0x[0-9a-fA-F_]+|(?:[0-9][0-9_]*)?\.?[0-9][0-9_]*(?:\.)?(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$`)
	date      = regexp.MustCompile(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:$|[Tt]|[ \t]+[0-9])`)
)

// notText says what a plain scalar is to a reader of YAML 1.1, if it is no string.
func notText(plain string) string {
	switch {
	case booleans[plain] != "":
		return "the boolean " + booleans[plain]
	case plain == "" || plain == "~" || plain == "null" || plain == "Null" || plain == "NULL":
		return "null"
	case number.MatchString(plain) || oddNumber.MatchString(plain):
		return "a number"
	case date.MatchString(plain):
		return "a date"
	}
	return ""
}

// isRewrittenTime reports whether kustomize takes a scalar for a time, and writes it otherwise.
func isRewrittenTime(node *yaml.Node) bool {
	var at time.Time
	if node.ShortTag() != "!!timestamp" || node.Decode(&at) != nil {
		return false
	}
	written, err := at.MarshalText()
	return err != nil || string(written) != node.Value
}
