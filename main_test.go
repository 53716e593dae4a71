package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/cache"
)

func TestWatchedNamespaces(t *testing.T) {
	for text, want := range map[string]map[string]cache.Config{
		"": nil, " , ": nil, "a": {"a": {}}, "a, b,": {"a": {}, "b": {}},
	} {
		if got := watched(options{watchNamespaces: text}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// filling are caches that are filled once the channel is closed.
type filling struct {
	cache.Cache
	filled chan struct{}
}

func (f filling) WaitForCacheSync(ctx context.Context) bool {
	select {
	case <-f.filled:
		return true
	case <-ctx.Done():
		return false
	}
}

func TestOperatorIsReadyOnceItsCachesAreFilled(t *testing.T) {
	caches := filling{filled: make(chan struct{})}
	ready, request := cachesFilled(caches), httptest.NewRequest(http.MethodGet, "/readyz", nil)
	if err := ready(request); err == nil {
		t.Error("ready with empty caches")
	}
	close(caches.filled)
	if err := ready(request); err != nil {
		t.Errorf("not ready with filled caches: %v", err)
	}
}
