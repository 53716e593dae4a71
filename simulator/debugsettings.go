package simulator

import (
	"fmt"
	"net/http"
	"time"
)

// Settings are what can be changed while the simulator runs; a member that is absent stays.
type Settings struct {
	IndexLag *string `json:"indexLag,omitempty"` // "30s": how far queries trail behind
	// CountLag, "30m" for one, is how far COUNT() and other aggregates trail behind; "0s": as far
	// as rows.
	CountLag *string `json:"countLag,omitempty"`
	// ConfigurationInterval, "5s" for one, is how long the hub's configurations rest between
	// evaluations.
	ConfigurationInterval *string `json:"configurationInterval,omitempty"`
	LenientDigitalTwins   *bool   `json:"lenientDigitalTwins,omitempty"`
	// WholeConfigurationEvents has the event of a configuration's write carry all desired
	// properties.
	WholeConfigurationEvents *bool `json:"wholeConfigurationEvents,omitempty"`
	// ConfigurationsOnce has configurations not put back what somebody else changes.
	ConfigurationsOnce *bool `json:"configurationsOnce,omitempty"`
	// MissingDiffers has != and NIN of queries hold for a property that is missing.
	MissingDiffers *bool `json:"missingDiffers,omitempty"`
	// NoQueryMetadata has the conditions of queries find nothing at a path through $metadata.
	NoQueryMetadata *bool   `json:"noQueryMetadata,omitempty"`
	QueryRows       *int    `json:"queryRows,omitempty"`   // how many a page has at most
	Limits          *Limits `json:"limits,omitempty"`      // {} for none
	ClockOffset     *string `json:"clockOffset,omitempty"` // "-5m": how far the hub's clock is ahead
	// MessagesToday are counted, and cannot be changed.
	MessagesToday int64 `json:"messagesToday,omitempty"`
}

func (d debugAPI) settings() Settings {
	dialect := d.hub.QueryDialect()
	return Settings{
		IndexLag: new(d.hub.IndexLag().String()), CountLag: new(d.hub.CountLag().String()),
		ConfigurationInterval: new(d.configurations.Interval().String()), ClockOffset: new(d.ClockOffset().String()),
		LenientDigitalTwins: new(d.hub.LenientDigitalTwins()), WholeConfigurationEvents: new(d.hub.WholeConfigurationEvents()),
		ConfigurationsOnce: new(d.configurations.Once()), MissingDiffers: new(dialect.MissingDiffers), NoQueryMetadata: new(dialect.NoMetadata),
		QueryRows: new(d.hub.QueryRows()), Limits: new(d.throttle.Limits()), MessagesToday: d.throttle.Used(),
	}
}

func (d debugAPI) changeSettings(r *http.Request) (any, error) {
	var want Settings
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	if err := d.change(want); err != nil {
		return nil, badRequest(err)
	}
	return d.settings(), nil
}

func (d debugAPI) change(want Settings) error {
	if want.QueryRows != nil && *want.QueryRows < 1 {
		return fmt.Errorf("queryRows is %d, expected 1 or more", *want.QueryRows)
	}
	if want.Limits != nil {
		if err := want.Limits.Check(); err != nil {
			return err
		}
	}
	for _, one := range []struct {
		text *string
		set  func(time.Duration) error
	}{
		{want.ConfigurationInterval, d.configurations.SetInterval},
		{want.IndexLag, always(d.hub.SetIndexLag)},
		{want.CountLag, always(d.hub.SetCountLag)},
		{want.ClockOffset, always(d.SetClockOffset)},
	} {
		if err := setDuration(one.text, one.set); err != nil {
			return err
		}
	}
	set(want.QueryRows, d.hub.SetQueryRows)
	set(want.Limits, d.SetLimits)
	d.changeAnswers(want)
	return nil
}

// changeAnswers is the part of change about how the hub reads and what it says.
func (d debugAPI) changeAnswers(want Settings) {
	set(want.LenientDigitalTwins, d.hub.SetLenientDigitalTwins)
	set(want.WholeConfigurationEvents, d.hub.SetWholeConfigurationEvents)
	set(want.ConfigurationsOnce, d.configurations.SetOnce)
	dialect := d.hub.QueryDialect()
	set(want.MissingDiffers, func(yes bool) { dialect.MissingDiffers = yes })
	set(want.NoQueryMetadata, func(yes bool) { dialect.NoMetadata = yes })
	d.hub.SetQueryDialect(dialect)
}

// set hands over what a request has.
func set[T any](v *T, to func(T)) {
	if v != nil {
		to(*v)
	}
}

func setDuration(text *string, to func(time.Duration) error) error {
	if text == nil {
		return nil
	}
	d, err := time.ParseDuration(*text)
	if err != nil {
		return err
	}
	return to(d)
}

// always is a setter that takes everything.
func always[T any](to func(T)) func(T) error {
	return func(v T) error { to(v); return nil }
}
