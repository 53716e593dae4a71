package command

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

func TestWhatACommandWaitsForItsDeviceToBecome(t *testing.T) {
	for name, test := range map[string]struct {
		attempt Attempt
		want    Awaited
	}{
		"offline":                 {Attempt{Err: answer(404, iothub.NumberDeviceOffline, offline, 0)}, AwaitsConnection},
		"offline, but it is open": {Attempt{Stirred: true, Err: answer(404, iothub.NumberDeviceOffline, offline, 0)}, AwaitsNothing},
		"disabled":                {Attempt{Err: answer(403, iothub.NumberDeviceDisabled, "")}, AwaitsEnabling},
		"unknown device":          {Attempt{Err: answer(404, iothub.NumberDeviceNotFound, "dev1")}, AwaitsIdentity},
		"too many in flight":      {Attempt{Err: answer(403, iothub.NumberTooManyInFlight, "")}, AwaitsNothing},
		"quota":                   {Attempt{Err: answer(403, iothub.NumberQuotaExceeded, "")}, AwaitsNothing},
		"throttled":               {Attempt{Err: answer(429, 429001, "")}, AwaitsNothing},
		"never connected":         {Attempt{Err: unsent(iothub.CodeConnection, nil)}, AwaitsNothing},
		"refused":                 {Attempt{Err: answer(400, 400004, "")}, AwaitsNothing},
		"the device answered":     {Attempt{Code: 200}, AwaitsNothing},
	} {
		if got := test.attempt.Awaits(Judge(test.attempt)); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
