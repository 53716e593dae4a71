package iothub

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// mostOfRefusal is what a call may allocate for an answer that is a refusal, in bytes, with the
// answer itself, which the buffer that it is read into holds several times over while it grows.
const mostOfRefusal = 6 * maxResponseBody

// A hub chooses the body of its refusals: no more of it is decoded than an error can have.
func TestRefusalsAreBounded(t *testing.T) {
	fill := func(part string) string { return strings.Repeat(part, (maxResponseBody-64)/len(part)) }
	for name, body := range map[string]string{
		"numbers":             `{"Info":[` + fill("0,") + `0]}`,
		"lists":               `{"Info":[` + fill("[],") + `0]}`,
		"objects":             `{"Info":[` + fill("{},") + `0]}`,
		"lists within a text": `{"Message":"{\"errorCode\":404001,\"info\":[` + fill("[],") + `0]}"}`,
		"a long text":         `{"Message":"` + fill("x") + `"}`,
		"no JSON":             fill("x"),
	} {
		t.Run(name, func(t *testing.T) {
			c := newPeer(t, answer(http.StatusNotFound, body)).client(t)
			before := allocated()
			err := calls[OpGetTwin](t.Context(), c)
			if n := allocated() - before; n > mostOfRefusal {
				t.Errorf("%d MiB were allocated, want at most %d", n>>20, mostOfRefusal>>20)
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.StatusCode != http.StatusNotFound || len(e.Error()) > 2*redact.MaxText {
				t.Errorf("error %.300v", err)
			}
		})
	}
}
