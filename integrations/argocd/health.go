// Package argocd runs the health script for Argo CD as Argo CD does. Only tests use it: what is installed is the script.
package argocd

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

//go:embed health.lua
var script string

// runFor is how long Argo CD lets a script run.
const runFor = time.Second

// Health is what Argo CD shows of an object.
type Health struct{ Status, Message string }

// counterparts are the verdicts of kstatus that a health may go with.
var counterparts = map[string][]string{
	"Healthy": {"Current"}, "Progressing": {"InProgress", "Terminating"}, "Degraded": {"Failed"}, "Suspended": {"Current", "Failed"},
}

// Agree fails if Argo CD and kstatus tell different stories of an object.
func Agree(health, kstatus string) error {
	if !slices.Contains(counterparts[health], kstatus) {
		return fmt.Errorf("to Argo CD the object is %s, to kstatus %s", health, kstatus)
	}
	return nil
}

// libraries are those that Argo CD opens for a script of argocd-cm, less its cut-down os: string, math and io are not among them.
var libraries = map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable}

// HealthOf runs the script, which is the same for every kind.
func HealthOf(o *unstructured.Unstructured) (Health, error) {
	vm := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer vm.Close()
	for name, open := range libraries {
		if err := vm.CallByParam(lua.P{Fn: vm.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return Health{}, fmt.Errorf("opening library %q: %w", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), runFor)
	defer cancel()
	vm.SetContext(ctx)
	vm.SetGlobal("obj", valueOf(vm, o.Object))
	if err := vm.DoString(script); err != nil {
		return Health{}, fmt.Errorf("running health.lua for a %s: %w", o.GetKind(), err)
	}
	answer, ok := vm.Get(-1).(*lua.LTable)
	if !ok {
		return Health{}, fmt.Errorf("health.lua returned a %s for a %s, expected a table", vm.Get(-1).Type(), o.GetKind())
	}
	return Health{Status: lua.LVAsString(answer.RawGetString("status")), Message: lua.LVAsString(answer.RawGetString("message"))}, nil
}

// valueOf makes a Lua value of a JSON value.
func valueOf(vm *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		list := vm.NewTable()
		for _, element := range v {
			list.Append(valueOf(vm, element))
		}
		return list
	case map[string]any:
		object := vm.NewTable()
		for name, member := range v {
			object.RawSetString(name, valueOf(vm, member))
		}
		return object
	}
	return lua.LNil
}
