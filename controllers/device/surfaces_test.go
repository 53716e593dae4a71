package device

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable/storabletest"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestTextFromOutsideIsCleanInFieldPathsOfEvents(t *testing.T) {
	storabletest.Check(t, map[string]storabletest.Surface{
		"field path of an Event": {Limit: maxFieldPath, Show: func(_ *testing.T, text string) string {
			return fieldOf(&v1alpha1.PnPDevice{}, twin.Leaf{Component: text, Name: text}).FieldPath
		}},
	})
}
