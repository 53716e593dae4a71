// Package restored has watches begin anew after the API server was put back to an older state, as by a
// restore of etcd.
//
// A watch goes on from the resourceVersion that was seen last. If the API server has not come to that
// one yet, it tells nothing, without an error, until it has: a client then works for hours on objects
// that are no longer there. A restore restarts API servers, which ends all watches; so the time to
// look is when a watch begins.
package restored

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

const (
	// onlyMetadata asks the API server for lists without specs and without status.
	onlyMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	// maxList bounds what is read of a list of one object. Its resourceVersion comes first.
	maxList = 3 << 20
)

// Transport returns a transport that answers a watch from a resourceVersion that the API server has
// not come to yet with 410 Expired, upon which client-go lists all objects anew. It asks for a list of
// at most one object, in the same scope, before each watch. Where that fails the watch goes on as
// before: its client meets the same failure.
func Transport(log logr.Logger) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return &transport{next, log} }
}

type transport struct {
	next http.RoundTripper
	log  logr.Logger
}

// WrappedRoundTripper lets client-go find what it cancels requests by.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	from, ok := watchedFrom(request)
	if !ok {
		return t.next.RoundTrip(request)
	}
	current, err := t.current(request)
	if err != nil {
		return t.next.RoundTrip(request)
	}
	if order, err := resourceversion.CompareResourceVersion(current, from); err != nil || order >= 0 {
		return t.next.RoundTrip(request)
	}
	t.log.Info("The API server was put back to an older state: objects are listed anew",
		"path", request.URL.Path, "resourceVersion", current, "seen", from)
	return expired(request, fmt.Sprintf("resourceVersion %s was seen before, the API server is at %s", from, current)), nil
}

// watchedFrom returns the resourceVersion that a watch goes on from, if the request is one that does.
func watchedFrom(request *http.Request) (version string, ok bool) {
	query := request.URL.Query()
	version = query.Get("resourceVersion")
	isWatch := query.Get("watch") == "true" || query.Get("watch") == "1"
	return version, request.Method == http.MethodGet && isWatch && version != "" && version != "0"
}

// current asks for the resourceVersion that the API server is at now.
func (t *transport) current(watch *http.Request) (string, error) {
	list := watch.Clone(watch.Context())
	query := url.Values{"limit": {"1"}}
	for _, scope := range []string{"labelSelector", "fieldSelector"} {
		if selector := watch.URL.Query().Get(scope); selector != "" {
			query.Set(scope, selector)
		}
	}
	list.URL.RawQuery = query.Encode()
	list.Header.Set("Accept", onlyMetadata)
	response, err := t.next.RoundTrip(list)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("listing %s: %s", watch.URL.Path, response.Status)
	}
	var answer metav1.PartialObjectMetadataList
	err = json.NewDecoder(io.LimitReader(response.Body, maxList)).Decode(&answer)
	return answer.ResourceVersion, err
}

// expired is what the API server says of a resourceVersion that it does not have any more.
func expired(request *http.Request, message string) *http.Response {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: http.StatusGone, Message: message,
	}
	raw, err := json.Marshal(status)
	if err != nil {
		panic(err) // texts and a number
	}
	return &http.Response{
		Status: "410 Gone", StatusCode: http.StatusGone, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Request: request,
		Body: io.NopCloser(strings.NewReader(string(raw))), ContentLength: int64(len(raw)),
	}
}
