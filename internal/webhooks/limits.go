package webhooks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/pnp-operator/pnp-operator/internal/jsonscan"
)

// Bounds of what the port takes, which anybody who reaches it may call.
const (
	// maxReview is how many bytes a review may have. The API server takes objects of 1.5 MiB, of which a review has two.
	maxReview = 7 << 19
	// maxReviewValues is how many JSON values it may have: a model has at most 80,000, and a review two of them.
	maxReviewValues = 200_000
	// maxReading and maxChecking bound the memory of reviews that are read, and that are checked, at once, in bytes.
	maxReading  = 8 << 20
	maxChecking = 80 << 20
	// answerWithin is how long reading, waiting and checking may take. The API server waits for three seconds, and without an answer nobody learns why.
	answerWithin = 2500 * time.Millisecond
)

// memoryOf is what decoding a review may take, in bytes: its text several times over, and structs for its values.
func memoryOf(size, values int) int64 { return 4*int64(size) + 300*int64(values) }

// limitedServer has all of its handlers share the bounds.
type limitedServer struct {
	webhook.Server
	reading, checking *semaphore.Weighted
	within            time.Duration
}

func limited(server webhook.Server) *limitedServer {
	return &limitedServer{Server: server, reading: semaphore.NewWeighted(maxReading), checking: semaphore.NewWeighted(maxChecking), within: answerWithin}
}

// Register serves a path within the bounds.
func (s *limitedServer) Register(path string, hook http.Handler) {
	s.Server.Register(path, s.limit(hook))
}

// limit reads a request and hands it on if it is within the bounds, and once there is room. Otherwise it answers why not, by which the API server lets the
// object through: failurePolicy is Ignore.
func (s *limitedServer) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.within)
		defer cancel()
		if r.ContentLength > maxReview {
			refuse(w, r.ContentLength, maxReview, "bytes")
			return
		}
		weight := r.ContentLength
		if weight < 0 { // it does not say
			weight = maxReview
		}
		if s.reading.Acquire(ctx, weight) != nil {
			busy(w)
			return
		}
		defer s.reading.Release(weight)
		body, ok := s.read(w, r)
		if !ok {
			return
		}
		values := jsonscan.Values(body)
		if values > maxReviewValues {
			refuse(w, int64(values), maxReviewValues, "JSON values")
			return
		}
		if s.checking.Acquire(ctx, memoryOf(len(body), values)) != nil {
			busy(w)
			return
		}
		defer s.checking.Release(memoryOf(len(body), values))
		r = r.WithContext(ctx)
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// read takes the body of a request, which has to come in time.
func (s *limitedServer) read(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.within)) // both kinds of connection can
	body, err := io.ReadAll(io.LimitReader(r.Body, maxReview+1))
	switch {
	case err != nil:
		http.Error(w, "the body could not be read", http.StatusBadRequest)
		return nil, false
	case len(body) > maxReview:
		refuse(w, int64(len(body)), maxReview, "bytes")
		return nil, false
	}
	_ = control.SetReadDeadline(time.Time{})
	return body, true
}

func refuse(w http.ResponseWriter, got, most int64, what string) {
	http.Error(w, fmt.Sprintf("the review has %d %s or more, want at most %d: it is not checked at admission", got, what, most), http.StatusRequestEntityTooLarge)
}

func busy(w http.ResponseWriter) {
	http.Error(w, "other reviews are being checked: this one is not checked at admission", http.StatusServiceUnavailable)
}
