package device

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var errOvertaken = apierrors.NewConflict(schema.GroupResource{Resource: "pnpdevices"}, "one", errors.New("somebody else was first"))

// TestAStopRecordsWhateverItsPassFailsWith covers a pass that loses its lock to an edit and is cut
// off when it is made again: client-go's retries take the second failure for the first.
func TestAStopRecordsWhateverItsPassFailsWith(t *testing.T) {
	for name, pass := range map[string][]error{
		"nothing":                      {nil},
		"a stop":                       {context.Canceled},
		"an edit, then a stop":         {errOvertaken, context.Canceled},
		"an edit, then the hub":        {errOvertaken, errors.New("the hub is out of reach")},
		"an edit that no cache shows":  {errOvertaken, errOvertaken, errOvertaken, errOvertaken, errOvertaken},
		"the API server, for a moment": {errors.New("etcd has no leader")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				isOpen, tried := true, 0
				err := firstThat(func() bool { return isOpen },
					func() error {
						tried++
						return pass[tried-1]
					},
					func() error {
						isOpen = false
						return nil
					})
				if err != nil || isOpen || tried != len(pass) {
					t.Fatalf("error %v, recorded: %t, after %d passes of %d", err, !isOpen, tried, len(pass))
				}
			})
		})
	}
}

func TestAStopSaysWhatKeepsTheRecordFromBeingWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		always := func(err error) func() error { return func() error { return err } }
		err := firstThat(func() bool { return true }, always(context.Canceled), always(errOvertaken))
		if !errors.Is(err, errOvertaken) {
			t.Fatalf("got %v, expected that of the last try", err)
		}
		if took := time.Since(began); took < time.Second || took > 2*time.Second {
			t.Fatalf("gave up after %v", took)
		}
	})
}
