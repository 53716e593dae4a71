package harness

import (
	"errors"
	"sync"
)

// ForEach does something for many devices, a few at a time.
func ForEach(ids []string, do func(id string) error) error {
	const atOnce = 8
	errs := make([]error, len(ids))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(id)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
