package hubcalls

import (
	"context"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/types"
)

type hello struct {
	Common

	answer    string
	discarded bool
}

func (h *hello) Ask(context.Context) { h.answer = "hello" }

func (h *hello) Discard() { h.discarded = true }

func TestAnAnswerIsHandedOverOnceAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		wakes := 0
		p := New[*hello](ctx, 2, func(types.NamespacedName) { wakes++ })
		object := types.NamespacedName{Namespace: "factory", Name: "press"}
		isWanted := func(*hello) bool { return true }
		p.Begin(&hello{Common: Common{Object: object, Host: "h"}})
		synctest.Wait()
		if answered, pending := p.Take(object, isWanted); answered == nil || answered.answer != "hello" || pending != nil || wakes != 1 {
			t.Errorf("answered %+v, pending %+v, %d wakes", answered, pending, wakes)
		}
		if answered, _ := p.Take(object, isWanted); answered != nil || len(p.under) > 0 {
			t.Errorf("an answer that was taken is kept: %+v", p.under)
		}
	})
}

func TestAnAnswerThatNobodyWantsIsDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		p := New[*hello](ctx, 2, func(types.NamespacedName) {})
		object := types.NamespacedName{Namespace: "factory", Name: "press"}
		one := &hello{Common: Common{Object: object, Host: "h"}}
		p.Begin(one)
		synctest.Wait()
		if answered, _ := p.Take(object, func(*hello) bool { return false }); answered != nil || !one.discarded || len(p.under) > 0 {
			t.Errorf("answered %+v, discarded %t, kept %+v", answered, one.discarded, p.under)
		}
	})
}
