package finish

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/reference"
	"k8s.io/utils/lru"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

const (
	// eventBurst Events of an object and reason are written one by one, then one every eventEvery.
	eventBurst = 5
	eventEvery = time.Minute
	// maxLimits objects and reasons are told apart: those whose Events are the latest.
	maxLimits = 4096
)

// boundedRecorder writes Events whose text a terminal can show and the API server takes. A cause that
// comes and goes every second costs few of them.
type boundedRecorder struct {
	events.EventRecorder

	scheme *runtime.Scheme
	limits *eventLimits
}

// NewRecorder bounds what a recorder writes.
func NewRecorder(to events.EventRecorder, scheme *runtime.Scheme) boundedRecorder {
	return boundedRecorder{to, scheme, &eventLimits{recent: lru.New(maxLimits)}}
}

// Eventf cleans and cuts the text. regarding has to be of a kind of the scheme.
func (r boundedRecorder) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	if reference, err := reference.GetReference(r.scheme, regarding); err == nil {
		regarding = r.limits.admit(reference, reason)
	}
	r.EventRecorder.Eventf(regarding, related, kind, reason, action, "%s", storable.Text(fmt.Sprintf(note, args...), maxNote))
}

// eventLimits bounds the Events of each object and reason. The recorder of client-go counts Events in
// the first one if they name the same object at the same resource version: those beyond the limit name
// that of the last Event within it.
type eventLimits struct {
	mu     sync.Mutex
	recent *lru.Cache // of *eventLimit by eventSubject
}

type eventSubject struct {
	object types.UID
	reason string
}

type eventLimit struct {
	rate *rate.Limiter
	last *corev1.ObjectReference
}

// admit returns what an Event has to name.
func (l *eventLimits) admit(named *corev1.ObjectReference, reason string) *corev1.ObjectReference {
	l.mu.Lock()
	defer l.mu.Unlock()
	subject := eventSubject{named.UID, reason}
	known, ok := l.recent.Get(subject)
	if !ok {
		known = &eventLimit{rate: rate.NewLimiter(rate.Every(eventEvery), eventBurst)}
		l.recent.Add(subject, known)
	}
	limit := known.(*eventLimit) // nothing else is added
	if limit.rate.Allow() || limit.last == nil {
		limit.last = named
	}
	return limit.last
}
