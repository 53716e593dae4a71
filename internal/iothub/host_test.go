package iothub

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/allowlist"
)

func TestNoTokenGoesToAHostThatIsNotAllowed(t *testing.T) {
	foreign := newPeer(t, goodAnswers[OpGetTwin])
	tests := map[string]string{ // what a bug might make of the client's base
		"another host":      strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1),
		"no TLS":            strings.Replace(foreign.URL, "https:", "http:", 1),
		"user information":  strings.Replace(foreign.URL, "127.0.0.1", "a:b@127.0.0.1", 1),
		"the hub as a user": strings.Replace(foreign.URL, "127.0.0.1", "127.0.0.1@localhost", 1),
	}
	for name, base := range tests {
		t.Run(name, func(t *testing.T) {
			c := foreign.client(t)
			c.base = base
			_, err := c.GetTwin(t.Context(), "dev1")
			if CodeOf(err) != CodeHostNotAllowed || ClassOf(err) != Terminal {
				t.Errorf("error %v", err)
			}
			if !isType[*allowlist.Error](err) {
				t.Errorf("error %v does not wrap an allowlist.Error", err)
			}
		})
	}
	if n := foreign.accepted(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	target := newPeer(t, answer(200, twinBody))
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := newPeer(t, answer(status, "", "Location", target.URL+"/twins/dev1"))
		c := p.client(t)
		for op, call := range calls {
			if err := call(t.Context(), c); CodeOf(err) != CodeRedirect || ClassOf(err) != Transient {
				t.Errorf("%s %d: %v", op, status, err)
			}
		}
		if n := len(p.log()); n != len(calls) {
			t.Errorf("%d: %d requests for %d calls", status, n, len(calls))
		}
	}
	if n := target.accepted(); n != 0 {
		t.Errorf("%d connections to the target", n)
	}
}

func TestCookiesAreNotKept(t *testing.T) {
	p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		goodAnswers[OpGetTwin](w, r)
	})
	c := p.client(t)
	for range 2 {
		if err := calls[OpGetTwin](t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.log()[1].header.Get("Cookie"); got != "" {
		t.Errorf("cookie %q sent back", got)
	}
}
