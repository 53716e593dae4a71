package metrics

import (
	"context"
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// leading keeps what metrics of the process read from the operator that leads. Tests run several
// operators in one process: metrics show the one that began last, and after its end the one before.
type leading[T any] struct {
	mutex sync.Mutex
	all   []*T // in the order in which their operators began to lead
}

// WhileLeading returns what a manager runs: it keeps one until the operator's lease or life ends.
func (l *leading[T]) WhileLeading(one *T) manager.RunnableFunc {
	return func(ctx context.Context) error {
		l.mutex.Lock()
		l.all = append(l.all, one)
		l.mutex.Unlock()
		<-ctx.Done()
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.all = slices.DeleteFunc(l.all, func(other *T) bool { return other == one })
		return nil
	}
}

// latest returns what the operator keeps that began last, or nil if none leads.
func (l *leading[T]) latest() *T {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(l.all) == 0 {
		return nil
	}
	return l.all[len(l.all)-1]
}
