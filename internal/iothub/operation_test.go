package iothub

import (
	"context"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/budget"
)

// TestEachCallOfAClientIsAnOperation walks the methods of a client that ask a hub: each is an
// operation of its own name, and the table below says what that costs.
// TestEveryRequestPassesTheGateOnce sees that the method sends it.
func TestEachCallOfAClientIsAnOperation(t *testing.T) {
	costs := map[string]budget.Request{
		"GetTwin":          {Class: budget.TwinRead, Size: 1, Messages: 3},
		"GetDigitalTwin":   {Class: budget.TwinRead, Size: 1, Messages: 3},
		"PatchTwin":        {Class: budget.TwinWrite, Size: 1, Messages: 3},
		"PatchDigitalTwin": {Class: budget.TwinWrite, Size: 3, Messages: 3},
		"Query":            {Class: budget.Query, Size: 1, Messages: 3},
		"InvokeCommand":    {Class: budget.Command, Size: 3, Messages: 3},
		"InvokeMethod":     {Class: budget.Command, Size: 3, Messages: 3},
	}
	operations := map[string]Operation{}
	for op := range calls {
		operations[op.String()] = op
	}
	client, asking := reflect.TypeFor[*Client](), 0
	for method := range client.Methods() {
		if method.Type.NumIn() < 2 || method.Type.In(1) != reflect.TypeFor[context.Context]() {
			continue
		}
		asking++
		op, known := operations[method.Name]
		want, costed := costs[method.Name]
		if !known || !costed {
			t.Errorf("%s is no operation that is called and costed in the tests of this package", method.Name)
			continue
		}
		if diff := cmp.Diff(want, op.Request(2*budget.BlockBytes+1)); diff != "" || op.Class() != want.Class {
			t.Errorf("%s, class %s (-want +got):\n%s", method.Name, op.Class(), diff)
		}
	}
	if asking != len(operations) || asking != len(costs) {
		t.Errorf("%d methods ask a hub, %d operations are called, %d are costed", asking, len(operations), len(costs))
	}
}
