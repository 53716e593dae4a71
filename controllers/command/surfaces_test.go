package command

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/storable/storabletest"
)

func TestTextFromOutsideIsCleanInOutcomesOfCommands(t *testing.T) {
	storabletest.Check(t, map[string]storabletest.Surface{
		"outcome of a command": {Limit: conditions.MaxMessage, Show: func(t *testing.T, text string) string {
			o := &v1alpha1.DeviceCommand{}
			conditions.SetVerdict(o, conditions.Verdict{Reason: "Test", Message: answeredText(200) + text})
			return concluded(o).Outcome.Message
		}},
	})
}
