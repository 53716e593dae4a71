package finish

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable/storabletest"
)

func TestTextFromOutsideIsCleanInNotesOfEvents(t *testing.T) {
	storabletest.Check(t, map[string]storabletest.Surface{
		"note of an Event": {Limit: maxNote, Show: func(_ *testing.T, text string) string {
			heard := &lastEvent{}
			NewRecorder(heard, runtime.NewScheme()).Eventf(&v1alpha1.PnPDevice{}, nil, "Warning", "Test", "Test", "%s", text)
			return heard.note
		}},
	})
}

// lastEvent keeps the text of an Event.
type lastEvent struct{ note string }

func (e *lastEvent) Eventf(_, _ runtime.Object, _, _, _, note string, args ...any) {
	e.note = fmt.Sprintf(note, args...)
}
