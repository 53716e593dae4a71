package restored_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pnp-operator/pnp-operator/internal/restored"
)

// apiServer is at one resourceVersion, and knows watches that begin before and after it.
type apiServer struct {
	at      string // of its lists
	refuses bool   // lists

	mu       sync.Mutex
	requests []string
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	s.requests = append(s.requests, r.URL.RawQuery)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case query.Get("watch") == "true":
	case s.refuses:
		w.WriteHeader(http.StatusForbidden)
	default:
		_, _ = fmt.Fprintf(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":%q},"items":[]}`, s.at)
	}
}

// A watch from a resourceVersion that the API server has not come to is expired for the client, and is never begun: the
// API server would not tell it anything.
func TestAWatchFromTheFutureIsExpired(t *testing.T) {
	const list, watch = "fieldSelector=metadata.name%3Dx&limit=1", "fieldSelector=metadata.name%3Dx&resourceVersion="
	for name, c := range map[string]struct {
		server  *apiServer
		from    string
		expired bool
		want    []string
	}{
		"as it always was":              {&apiServer{at: "120"}, "120", false, []string{list, watch + "120&watch=true"}},
		"behind the API server":         {&apiServer{at: "1000"}, "999", false, []string{list, watch + "999&watch=true"}},
		"ahead of the API server":       {&apiServer{at: "999"}, "1000", true, []string{list}},
		"from anywhere":                 {&apiServer{at: "9"}, "0", false, []string{watch + "0&watch=true"}},
		"from the newest":               {&apiServer{at: "9"}, "", false, []string{"fieldSelector=metadata.name%3Dx&watch=true"}},
		"where the list is refused":     {&apiServer{refuses: true}, "1000", false, []string{list, watch + "1000&watch=true"}},
		"where the list has no version": {&apiServer{}, "1000", false, []string{list, watch + "1000&watch=true"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.server)
			t.Cleanup(server.Close)
			config := &rest.Config{Host: server.URL}
			config.Wrap(restored.Transport(logr.Discard()))
			of, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			events, err := of.CoreV1().Secrets("default").Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=x", ResourceVersion: c.from})
			if err == nil {
				events.Stop()
			}
			if apierrors.IsResourceExpired(err) != c.expired || err != nil && !c.expired {
				t.Errorf("the watch ends with %v, want expired: %v", err, c.expired)
			}
			if fmt.Sprint(c.server.requests) != fmt.Sprint(c.want) {
				t.Errorf("the API server is asked %q, want %q", c.server.requests, c.want)
			}
		})
	}
}

// Everything but a watch passes as it is.
func TestOtherRequestsPass(t *testing.T) {
	server := &apiServer{at: "1"}
	at := httptest.NewServer(server)
	t.Cleanup(at.Close)
	client := &http.Client{Transport: restored.Transport(logr.Discard())(http.DefaultTransport)}
	var want []string
	for _, c := range []struct{ method, query string }{
		{http.MethodGet, "resourceVersion=5"}, {http.MethodGet, ""}, {http.MethodPatch, "resourceVersion=5&watch=true"}, {http.MethodPost, ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, at.URL+"/api/v1/secrets?"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		want = append(want, c.query)
	}
	if fmt.Sprint(server.requests) != fmt.Sprint(want) {
		t.Errorf("the API server is asked %q, want %q", server.requests, want)
	}
}
