package iothub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Query is one page's worth of question, in the hub's SQL-like language.
type Query struct {
	// SQL such as: SELECT deviceId, version FROM devices. At most 8192 characters.
	SQL string
	// MaxItems per page. Zero: the hub's default; more than 100 gives 100.
	MaxItems int
	// Continuation of the page before, "" for the first one.
	Continuation string
}

// QueryPage is one page of answers.
type QueryPage struct {
	// Items are twins for SELECT *, and whatever was projected otherwise.
	Items []json.RawMessage
	// Continuation asks for the next page, "" on the last one. A page without items may have one.
	Continuation string
}

// Query asks for one page: POST /devices/query. The answer comes from an index that lags behind the twins by seconds, at
// times half an hour, and that remembers deleted devices.
func (c *Client) Query(ctx context.Context, q Query) (QueryPage, error) {
	body, err := json.Marshal(map[string]string{"query": q.SQL})
	if err != nil {
		return QueryPage{}, localError(call{op: OpQuery}, CodeInvalidQuery, Terminal, err)
	}
	var page QueryPage
	err = c.do(ctx, call{
		op: OpQuery, method: http.MethodPost, path: "/devices/query", header: q.header(), body: body,
		decode: func(header http.Header, body []byte) (err error) {
			page, err = decodePage(header, body, cmp.Or(q.MaxItems, maxItems))
			return err
		},
	})
	if err != nil {
		return QueryPage{}, err
	}
	return page, nil
}

func (q Query) header() http.Header {
	h := http.Header{}
	if q.MaxItems > 0 {
		h.Set(headerMaxItems, strconv.Itoa(q.MaxItems))
	}
	if q.Continuation != "" {
		h.Set(headerContinuation, q.Continuation)
	}
	return h
}

// maxItems is how many a page of the hub has at most.
const maxItems = 100

// decodePage takes no more items than were asked for.
func decodePage(header http.Header, body []byte, most int) (QueryPage, error) {
	page := QueryPage{Continuation: header.Get(headerContinuation), Items: []json.RawMessage{}}
	d := json.NewDecoder(bytes.NewReader(body))
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return QueryPage{}, errors.New("query answer is not an array")
	}
	for d.More() {
		if len(page.Items) == most {
			return QueryPage{}, fmt.Errorf("query answer has more than %d rows", most)
		}
		var item json.RawMessage
		if err := d.Decode(&item); err != nil {
			return QueryPage{}, err
		}
		page.Items = append(page.Items, item)
	}
	if _, err := d.Token(); err != nil {
		return QueryPage{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return QueryPage{}, errors.New("query answer does not end after its array")
	}
	return page, nil
}
