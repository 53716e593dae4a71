package controllers_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// modelRepository is a models repository that the operator may ask.
var modelRepository = newRepository()

type repository struct {
	server *httptest.Server

	mu    sync.Mutex
	files map[string]string // by path
	asked map[string]int

	failing string // beginning of the paths that it fails at, and how
	status  int
}

func newRepository() *repository {
	r := &repository{files: map[string]string{}, asked: map[string]int{}}
	r.server = httptest.NewTLSServer(r)
	return r
}

func (r *repository) transport() http.RoundTripper { return r.server.Client().Transport }

func (r *repository) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[request.URL.Path]++
	if r.status != 0 && strings.HasPrefix(request.URL.Path, r.failing) {
		w.WriteHeader(r.status)
		return
	}
	file, ok := r.files[request.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write([]byte(file))
}

// fails has the repository answer with a status below a path; 0 ends that.
func (r *repository) fails(path string, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing, r.status = path, status
}

func (r *repository) put(path, file string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[path] = file
}

func (r *repository) askedFor(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[path]
}
