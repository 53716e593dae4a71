package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/pnp-operator/pnp-operator/simulator/faults"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

const maxQueryLength = 8192

// position is where the next page starts. Clients see it as an opaque text.
type position struct {
	Query string `json:"q"` // hash of the query that it belongs to
	After string `json:"a"` // the last device of the previous page
	Seen  int    `json:"n"` // rows on all previous pages

	continued bool // it came with the request
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
	s := search{server: c.server, query: q.In(c.server.Hub.QueryDialect()), size: size, faults: c.server.Faults.StrikeQuery(from.continued)}
	c.note(s.faults)
	if from.continued && s.has(faults.RefusedToken) {
		return reply{}, hub.BadQuery()
	}
	rows, next := s.page(from)
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

// search is one page of a query to answer, with the faults that strike it.
type search struct {
	server *Server
	query  *query.Query
	size   int
	faults []faults.Fault
}

func (s *search) has(k faults.Kind) bool {
	return slices.ContainsFunc(s.faults, func(f faults.Fault) bool { return f.Kind == k })
}

// hits reports whether a fault of a kind is about the row of a device.
func (s *search) hits(k faults.Kind, device string) bool {
	return slices.ContainsFunc(s.faults, func(f faults.Fault) bool { return f.Kind == k && f.Hits(device) })
}

// page collects one row more than fits, to know whether there are more.
func (s *search) page(from position) ([]any, *position) {
	top := s.query.Top
	if top > 0 {
		s.size = min(s.size, max(top-from.Seen, 0))
	}
	rows := []any{}
	next := from
	more := false
	for after, row := range s.results(from) {
		if len(rows) == s.size {
			more = true
			break
		}
		rows = append(rows, row)
		next.After = after
	}
	next.Seen += len(rows)
	switch {
	case more && (top == 0 || next.Seen < top):
		return rows, &next
	case s.has(faults.EndlessToken):
		return rows, &position{Query: from.Query}
	}
	return rows, nil
}

// results yields the rows behind a position, each with the device it belongs to.
func (s *search) results(from position) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		switch {
		case s.query.Aggregates():
			groups := s.query.Aggregate(s.counted)
			for _, g := range groups[min(from.Seen, len(groups)):] {
				if !yield("", g) {
					return
				}
			}
		case s.query.From == query.Jobs:
			s.jobs(from, yield)
		default:
			s.twins(from, yield)
		}
	}
}

// jobs yields the devices of jobs behind a position.
func (s *search) jobs(from position, yield func(string, any) bool) {
	skip := from.Seen
	s.server.Jobs.Rows(func(r query.Row) bool {
		if !s.query.Matches(r) {
			return true
		}
		if skip--; skip >= 0 {
			return true
		}
		return yield("", s.query.Project(r))
	})
}

// twins yields those behind a position; a page of one row is not begun with the last one again, it would never end.
func (s *search) twins(from position, yield func(string, any) bool) {
	hub := s.server.Hub
	give := func(t *twin) bool {
		return !s.query.Matches(t) || yield(keyOf(t), s.query.Project(t))
	}
	if s.query.From == query.Modules {
		hub.ModuleRows(from.After, give)
		return
	}
	if from.After != "" && s.size > 1 && s.hits(faults.RepeatedRows, from.After) {
		if last, err := hub.Get(from.After); err == nil && !give(last) {
			return
		}
	}
	s.haunt(from.After, func(yield func(*twin) bool) { hub.Rows(from.After, yield) }, give)
}

// counted yields the twins that are aggregated. Jobs are not.
func (s *search) counted(yield func(query.Row) bool) {
	give := func(t *twin) bool { return yield(t) }
	if s.query.From == query.Modules {
		s.server.Hub.ModuleRows("", give)
		return
	}
	s.haunt("", s.server.Hub.CountedRows, give)
}

// haunt yields rows of devices, which come in order, without those that a fault hides, and with those of deleted devices in
// their places that it shows.
func (s *search) haunt(after string, rows func(func(*twin) bool), yield func(*twin) bool) {
	ghosts := s.ghosts(after)
	on := true
	rows(func(t *twin) bool {
		for on && len(ghosts) > 0 && keyOf(ghosts[0]) <= keyOf(t) {
			ghost := ghosts[0]
			ghosts = ghosts[1:]
			on = keyOf(ghost) == keyOf(t) || yield(ghost)
		}
		on = on && (s.hits(faults.MissingRows, keyOf(t)) || yield(t))
		return on
	})
	for on && len(ghosts) > 0 {
		on = yield(ghosts[0])
		ghosts = ghosts[1:]
	}
}

// ghosts are the deleted devices behind an id that a fault shows.
func (s *search) ghosts(after string) []*twin {
	if !s.has(faults.GhostRows) {
		return nil
	}
	return slices.DeleteFunc(s.server.Hub.Ghosts(), func(t *twin) bool {
		return keyOf(t) <= after || !s.hits(faults.GhostRows, keyOf(t))
	})
}

type twin = hub.Twin

func keyOf(t *twin) string { return hub.ModuleKey(t.Identity.DeviceID, t.Identity.ModuleID) }

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
	p.continued = true
	raw, err := base64.StdEncoding.DecodeString(continuation)
	if err != nil || json.Unmarshal(raw, &p) != nil || p.Query != hash(text) || p.Seen < 0 {
		return p, hub.BadQuery()
	}
	return p, nil
}
