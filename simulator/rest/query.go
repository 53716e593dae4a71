package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"iter"
	"strconv"
	"unicode/utf8"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

const maxQueryLength = 8192

// position is where the next page starts. Clients see it as an opaque text.
type position struct {
	Query string `json:"q"` // hash of the query that it belongs to
	After string `json:"a"` // the last device of the previous page
	Seen  int    `json:"n"` // rows on all previous pages
}

// runQuery answers POST /devices/query, one page at a time. The x-ms-continuation header is absent on the last page:
// Node takes its mere presence as more to come.
func runQuery(c *call) (reply, error) {
	q, text, err := c.parseQuery()
	if err != nil {
		return reply{}, err
	}
	size, err := c.pageSize()
	if err != nil {
		return reply{}, err
	}
	from, err := parsePosition(c.header.Get("x-ms-continuation"), text)
	if err != nil {
		return reply{}, err
	}
	rows, next := c.server.page(q, from, size)
	r := ok(rows).with("x-ms-item-type", itemType(q))
	if next != nil {
		r = r.with("x-ms-continuation", next.String())
	}
	return r, nil
}

func (c *call) parseQuery() (*query.Query, string, error) {
	body, err := c.object()
	if err != nil {
		return nil, "", err
	}
	v, _ := body.Get("query")
	text, _ := v.(string)
	if utf8.RuneCountInString(text) > maxQueryLength {
		tooLong := usual[412].failure(412)
		tooLong.Message = "Precondition failed: the query is longer than " + strconv.Itoa(maxQueryLength) + " characters"
		return nil, "", tooLong
	}
	q, err := query.Parse(text)
	if err != nil {
		c.server.Log.V(1).Info("Refused a query", "query", text, "reason", err.Error())
		return nil, "", hub.BadQuery()
	}
	return q, text, nil
}

func (c *call) pageSize() (int, error) {
	most := c.server.Hub.QueryRows()
	s := c.header.Get("x-ms-max-item-count")
	if s == "" {
		return most, nil
	}
	n, err := strconv.Atoi(s)
	if n == -1 { // the SDKs' "as many as you like"
		n = most
	}
	if err != nil || n < 1 {
		return 0, usual[400].failure(400)
	}
	return min(n, most), nil
}

func itemType(q *query.Query) string {
	switch {
	case q.From == query.Jobs:
		return "DeviceJob"
	case q.Star:
		return "Twin"
	}
	return "Raw"
}

// page collects one row more than fits, to know whether there are more.
func (s *Server) page(q *query.Query, from position, size int) ([]any, *position) {
	if q.Top > 0 {
		size = min(size, max(q.Top-from.Seen, 0))
	}
	rows := []any{}
	next := from
	more := false
	for after, row := range s.results(q, from) {
		if len(rows) == size {
			more = true
			break
		}
		rows = append(rows, row)
		next.After = after
	}
	next.Seen += len(rows)
	if !more || q.Top > 0 && next.Seen >= q.Top {
		return rows, nil
	}
	return rows, &next
}

// results yields the rows behind a position, each with the device it belongs to.
func (s *Server) results(q *query.Query, from position) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		switch {
		case q.Aggregates():
			groups := q.Aggregate(s.rows(q.From))
			for _, g := range groups[min(from.Seen, len(groups)):] {
				if !yield("", g) {
					return
				}
			}
		case q.From == query.Jobs:
			s.jobs(q, from, yield)
		default:
			s.twins(q.From)(from.After, func(t *hub.Twin) bool {
				return !q.Matches(t) || yield(hub.ModuleKey(t.Identity.DeviceID, t.Identity.ModuleID), q.Project(t))
			})
		}
	}
}

// jobs yields the devices of jobs behind a position.
func (s *Server) jobs(q *query.Query, from position, yield func(string, any) bool) {
	skip := from.Seen
	s.Jobs.Rows(func(r query.Row) bool {
		if !q.Matches(r) {
			return true
		}
		if skip--; skip >= 0 {
			return true
		}
		return yield("", q.Project(r))
	})
}

// twins is how to walk through the twins of a collection.
func (s *Server) twins(collection string) func(after string, yield func(*hub.Twin) bool) {
	if collection == query.Modules {
		return s.Hub.ModuleRows
	}
	return s.Hub.Rows
}

// rows yields the twins of a collection. Jobs are not aggregated.
func (s *Server) rows(collection string) iter.Seq[query.Row] {
	return func(yield func(query.Row) bool) {
		s.twins(collection)("", func(t *hub.Twin) bool { return yield(t) })
	}
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

func (p *position) String() string {
	raw, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func parsePosition(continuation, text string) (position, error) {
	p := position{Query: hash(text)}
	if continuation == "" {
		return p, nil
	}
	raw, err := base64.StdEncoding.DecodeString(continuation)
	if err != nil || json.Unmarshal(raw, &p) != nil || p.Query != hash(text) || p.Seen < 0 {
		return p, hub.BadQuery()
	}
	return p, nil
}
