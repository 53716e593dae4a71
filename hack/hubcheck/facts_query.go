package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// queryFacts are about the query language, and about how far the index of queries trails behind.
var queryFacts = []check{
	{
		id: "query.late", fact: "A write shows in queries while we wait",
		expected: "shows",
		play: func(ctx context.Context, on *site) (string, error) {
			began := time.Now()
			yes, err := on.indexed(ctx)
			if !yes {
				return "not within " + on.patience.String(), err
			}
			on.remark = "after " + time.Since(began).Round(100*time.Millisecond).String()
			return "shows", err
		},
	},
	{
		id: "query.count", fact: "COUNT() counts what the rows show",
		expected: "1",
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.inIndex(ctx); err != nil {
				return "", err
			}
			a, err := on.ask(ctx, "SELECT COUNT() AS n FROM devices WHERE deviceId = '"+on.id+"' AND IS_DEFINED(tags.hubcheck)")
			if err != nil || a.status != http.StatusOK {
				return a.String(), err
			}
			var rows []struct{ N json.Number }
			err = json.Unmarshal(a.body, &rows)
			if len(rows) != 1 {
				return fmt.Sprintf("%d rows", len(rows)), err
			}
			return rows[0].N.String(), err
		},
	},
	rowsThatFit("query.unequal", "What is not there is not unequal to anything", "tags.nope != 'x'", 0),
	rowsThatFit("query.drifted", "Unless that is asked for, too", "(tags.nope != 'x' OR NOT IS_DEFINED(tags.nope))", 1),
	rowsThatFit("query.nin", "Nor is it outside of a list", "tags.nope NIN ['x']", 0),
	rowsThatFit("query.nested", "A nested tag can be asked for, by a list of values of several types", "tags.hubcheckPlace.line IN [7, 'x']", 1),
	rowsThatFit("query.not", "NOT turns NIN around", "NOT tags.hubcheckPlace.line NIN [7]", 1),
	rowsThatFit("query.typed", "A text is neither equal nor unequal to a number", "(tags.hubcheckPlace.line = '7' OR tags.hubcheckPlace.line != '7')", 0),
	rowsThatFit("query.object", "An object is neither equal nor unequal to a text", "(tags.hubcheckPlace = 'x' OR tags.hubcheckPlace != 'x')", 0),
	rowsThatFit("query.quote", "A quote that is escaped does not end a text", `tags.hubcheckPlace.name = 'it\'s'`, 1),
	{
		id: "query.group", fact: "Devices can be counted by a nested tag",
		expected: `[{"line":7,"n":1}]`,
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.inIndex(ctx); err != nil {
				return "", err
			}
			a, err := on.ask(ctx, "SELECT tags.hubcheckPlace.line AS line, COUNT() AS n FROM devices WHERE deviceId = '"+on.id+"' GROUP BY tags.hubcheckPlace.line")
			if err != nil || a.status != http.StatusOK {
				return a.String(), err
			}
			var groups []map[string]any
			err = json.Unmarshal(a.body, &groups)
			return shown(groups), err
		},
	},
	rowsThatFit("query.undefined", "What is not there can be asked for", "NOT IS_DEFINED(tags.nope)", 1),
	{
		id: "query.attributes", needs: aDevice, fact: "A desired value can be compared with a reported one",
		expected: "1 row",
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			if _, err := on.patch(ctx, `{"q":7}`); err != nil {
				return "", err
			}
			if _, err := on.report(ctx, `{"q":7}`); err != nil {
				return "", err
			}
			return on.fits(ctx, "properties.desired.q = properties.reported.q")
		},
	},
	{
		id: "query.metadata", needs: aDevice, fact: "An acknowledged version can be compared with that of the desired value's metadata",
		expected: "1 row",
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			doc, err := on.patch(ctx, `{"m":1}`)
			if err != nil {
				return "", err
			}
			if _, err := on.report(ctx, fmt.Sprintf(`{"m":{"value":1,"ac":200,"av":%d}}`, doc.number("properties", "desired", "$version"))); err != nil {
				return "", err
			}
			return on.fits(ctx, "properties.reported.m.av = properties.desired.$metadata.m.$lastUpdatedVersion")
		},
	},
	queryAnswer("query.large", "More than 100 rows a page may be asked for", "SELECT deviceId FROM devices WHERE deviceId = '{id}'", "200", "1000"),
	{
		id: "query.page", fact: "A page has at most 100 rows, whatever is asked for",
		expected: "100 rows, and more to come",
		play:     pageRows,
	},
	queryAnswer("query.long", "A query has at most 8,192 characters",
		"SELECT deviceId FROM devices WHERE deviceId = '{id}' AND deviceId != '"+strings.Repeat("x", 8192)+"'", "412 PreconditionFailed", "100"),
	queryAnswer("query.syntax", "A query that cannot be parsed is a wrong argument", "SELECT FROM WHERE", badArgument, "100"),
}

// indexed has the device tagged and waits until the index shows that.
func (s *site) indexed(ctx context.Context) (bool, error) {
	a, err := s.hub.ask(ctx, http.MethodPatch, "/twins/"+s.id, `{"tags":{"hubcheck":true,"hubcheckPlace":{"line":7,"name":"it's"}}}`)
	if err != nil || a.status != http.StatusOK {
		return false, s.refused("writing a tag", a, err)
	}
	return eventually(ctx, s.patience, func() (bool, error) {
		rows, refused, err := s.query(ctx, "IS_DEFINED(tags.hubcheck)")
		if refused != "" {
			err = fmt.Errorf("the hub answers %s", refused)
		}
		return rows == 1, err
	})
}

// inIndex is for what makes no sense before the index has the device.
func (s *site) inIndex(ctx context.Context) error {
	yes, err := s.indexed(ctx)
	if err == nil && !yes {
		err = skipf("the index does not show the device within %s", s.patience)
	}
	return err
}

// rowsThatFit is how many rows a condition finds, once the index has the device.
func rowsThatFit(id, fact, condition string, expected int) check {
	return check{id: id, fact: fact, expected: rowsOf(expected), play: func(ctx context.Context, on *site) (string, error) {
		if err := on.inIndex(ctx); err != nil {
			return "", err
		}
		rows, refused, err := on.query(ctx, condition)
		if refused != "" {
			return refused, err
		}
		return rowsOf(rows), err
	}}
}

func rowsOf(n int) string {
	switch n {
	case 0:
		return "no row"
	case 1:
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

// fits waits until a condition finds the device.
func (s *site) fits(ctx context.Context, condition string) (string, error) {
	if err := s.inIndex(ctx); err != nil {
		return "", err
	}
	rows, refused := 0, ""
	_, err := eventually(ctx, s.patience, func() (_ bool, err error) {
		rows, refused, err = s.query(ctx, condition)
		return rows > 0 || refused != "", err
	})
	if refused != "" {
		return refused, err
	}
	return rowsOf(rows), err
}

// queryAnswer is what the hub answers to a query that asks for so many rows a page.
func queryAnswer(id, fact, query, expected, rows string) check {
	return check{id: id, fact: fact, expected: expected, play: func(ctx context.Context, on *site) (string, error) {
		a, err := on.ask(ctx, strings.ReplaceAll(query, "{id}", on.id), "X-Ms-Max-Item-Count", rows)
		return a.String(), err
	}}
}

// pageRows asks for one row more than a page has.
func pageRows(ctx context.Context, on *site) (string, error) {
	a, err := on.ask(ctx, "SELECT deviceId FROM devices", "X-Ms-Max-Item-Count", "101")
	if err != nil || a.status != http.StatusOK {
		return a.String(), err
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(a.body, &rows); err != nil {
		return "", err
	}
	if a.header.Get("X-Ms-Continuation") != "" {
		return rowsOf(len(rows)) + ", and more to come", nil
	}
	if len(rows) < 101 {
		return "", skipf("the hub has only %d devices", len(rows))
	}
	return rowsOf(len(rows)), nil
}

const (
	// leastHold is longer than 40 connections take, and shorter than the hub holds a request back.
	leastHold = 4 * time.Second
	heldBack  = "for more than 4 s"
)

// burstSize is more queries than a unit of S1 and the free tier allow in a minute, and hold back.
const burstSize = 40

// throttleFacts are about a hub that is asked too much.
var throttleFacts = []check{
	{
		id: "throttle.refused", needs: theThrottle, fact: "What cannot wait is refused by 429, without a Retry-After",
		expected: "429 ThrottlingBacklogTimeout, no Retry-After",
		play: func(ctx context.Context, on *site) (string, error) {
			b, err := on.asked(ctx)
			if err != nil {
				return "", err
			}
			if b.refused == nil {
				return "", skipf("none of %d queries at once was refused: the hub has more than one unit, or is of S3", burstSize)
			}
			if after := b.refused.header.Get("Retry-After"); after != "" {
				return b.refused.String() + ", Retry-After " + after, nil
			}
			return b.refused.String() + ", no Retry-After", nil
		},
	},
	{
		id: "throttle.held", needs: theThrottle, fact: "Before that requests are held back",
		expected: heldBack,
		play: func(ctx context.Context, on *site) (string, error) {
			b, err := on.asked(ctx)
			switch {
			case err != nil:
				return "", err
			case b.held > leastHold:
				return heldBack, nil
			case b.refused == nil:
				return "", skipf("none of %d queries at once was held back or refused", burstSize)
			}
			return fmt.Sprintf("for %s at most", b.held.Round(time.Millisecond)), nil
		},
	},
}

// burst is what became of many queries at once.
type burst struct {
	refused *answer       // one of those that were
	held    time.Duration // the longest that one took which was answered
}

// asked plays the burst once.
func (s *site) asked(ctx context.Context) (*burst, error) {
	if s.burst != nil {
		return s.burst, nil
	}
	answers := make([]answer, burstSize)
	errs := make([]error, burstSize)
	var all sync.WaitGroup
	for i := range burstSize {
		all.Go(func() {
			answers[i], errs[i] = s.ask(ctx, "SELECT deviceId FROM devices WHERE deviceId = '"+s.id+"'")
		})
	}
	all.Wait()
	b := &burst{}
	for i, a := range answers {
		switch {
		case errs[i] != nil:
			return nil, errs[i]
		case a.status == http.StatusOK:
			b.held = max(b.held, a.took)
		default:
			b.refused = &answers[i]
		}
	}
	s.burst = b
	return b, nil
}
