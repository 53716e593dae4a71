package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/simulator"
)

func since(version string) *metav1.ListOptions { return &metav1.ListOptions{ResourceVersion: version} }

func tlsOf(env map[string]string) (*tls.Config, error) {
	ca, err := os.ReadFile(env["HUB_CA_FILE"])
	if err != nil {
		return nil, fmt.Errorf("reading the hub's CA: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		return nil, errors.New("the hub's CA file holds no certificate")
	}
	return config, nil
}

// telemetry sends a million messages a minute through the endpoint that twin events come through, and edits meanwhile.
func (b *bench) telemetry(ctx context.Context) error {
	const twinEvents = 100
	if err := b.settle(ctx, b.size.fewest(), 3); err != nil {
		return err
	}
	idle, err := b.chainOfOperator(ctx, b.size.edits)
	if err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil { // all is read from here on, so what is read can be held against what is sent
		return err
	}
	start, err := b.passed(ctx)
	if err != nil {
		return err
	}
	stop, err := b.flood(ctx)
	if err != nil {
		return err
	}
	m, err := b.editsBeside(ctx, twinEvents, start)
	if err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	b.tellOfTelemetry(m, idle, twinEvents)
	return b.awaitSettled(ctx)
}

// perMinute is how many messages the simulator is asked for.
const perMinute = 1_000_000

// flood has devices that nobody declared send telemetry until stop is called.
func (b *bench) flood(ctx context.Context) (stop func() error, err error) {
	const perRound = 2
	senders := b.size.most() / 10
	b.serial++
	f := fleet{prefix: fmt.Sprintf("flood%d", b.serial), count: senders}
	err = b.Hub.AddDevices(ctx, f.prefix+"-%05d", f.count, simulator.Spec{
		Model: simulator.TemperatureController, Telemetry: simulator.Telemetry{Interval: time.Duration(senders*perRound) * time.Minute / perMinute},
	})
	return func() error {
		return each(ctx, f.count, clients, func(ctx context.Context, i int) error { return b.Hub.DeleteDevice(ctx, f.name(i)) })
	}, err
}

// passed is what came through the event hub up to some moment: what entered it, and what the operator read.
type passed struct {
	sent, read                   float64 // events of any kind
	telemetrySent, telemetryRead float64 // those of them that are telemetry
}

func (b *bench) passed(ctx context.Context) (p passed, err error) {
	counts, err := b.Hub.EventCounts(ctx)
	if err != nil {
		return p, fmt.Errorf("counting what entered the event hub: %w", err)
	}
	for _, n := range counts {
		p.sent += float64(n)
	}
	m, err := b.operatorMetrics(ctx)
	p.telemetrySent = float64(counts[simulator.SourceTelemetry])
	p.read, p.telemetryRead = m.sum("pnp_stream_events_total"), m.sum("pnp_telemetry_messages_total")
	return p, err
}

func (p passed) since(before passed) passed {
	return passed{p.sent - before.sent, p.read - before.read, p.telemetrySent - before.telemetrySent, p.telemetryRead - before.telemetryRead}
}

// awaitRead waits until the operator has read what had entered the event hub, both counted since a moment when it had read everything.
func (b *bench) awaitRead(ctx context.Context, start, sent passed) error {
	wanted := sent.since(start).sent
	for limit := time.Now().Add(patience); ; {
		now, err := b.passed(ctx)
		if err != nil {
			return err
		}
		read := now.since(start).read
		if read >= wanted {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("the operator read %.0f of %.0f events within %s after they were sent", read, wanted, patience)
		}
		if !pause(ctx, 100*time.Millisecond) { // asking costs the operator processor time
			return context.Cause(ctx)
		}
	}
}

// beside is what a minute beside telemetry took.
type beside struct {
	edits  sample
	used   usage         // until the operator had read what was sent in that minute
	passed passed        // likewise
	took   time.Duration // likewise
	behind time.Duration // of that, after the minute
}

// editsBeside edits devices one by one for a minute, while devices report what nobody declared that often a second, and then waits until the operator
// has read it all: one that lags must not look cheaper than one that does not.
func (b *bench) editsBeside(ctx context.Context, twinEvents int, start passed) (m beside, err error) {
	used, err := b.usage(ctx)
	if err != nil {
		return m, err
	}
	before, err := b.passed(ctx)
	if err != nil {
		return m, err
	}
	if m.edits, err = b.editsAndReports(ctx, twinEvents); err != nil {
		return m, err
	}
	over := time.Now()
	sent, err := b.passed(ctx)
	if err != nil {
		return m, err
	}
	if err := b.awaitRead(ctx, start, sent); err != nil {
		return m, err
	}
	m.behind = time.Since(over)
	after, err := b.usage(ctx)
	if err != nil {
		return m, err
	}
	now, err := b.passed(ctx)
	m.used, m.took, m.passed = after.since(used), after.at.Sub(used.at), now.since(before)
	return m, err
}

func (b *bench) editsAndReports(ctx context.Context, twinEvents int) (took sample, err error) {
	reporting, end := context.WithCancel(ctx)
	defer end()
	reported := make(chan error, 1)
	go func() {
		reported <- everySecond(reporting, twinEvents, int(b.size.minute.Seconds()), func(n int) error {
			return b.Hub.PatchReported(reporting, b.present.name(n%b.present.count), fmt.Sprintf(`{"uptime":%d}`, n))
		})
	}()
	until := time.Now().Add(b.size.minute)
	for i := 0; time.Now().Before(until); i++ {
		one, err := b.timedEdit(ctx, b.present.name(i%b.present.count))
		if err != nil {
			return nil, err
		}
		took = append(took, one)
	}
	return took, <-reported
}

func (b *bench) tellOfTelemetry(m beside, idle sample, twinEvents int) {
	minutes := m.took.Minutes()
	b.out.one("telemetry that the simulator sent a minute", "messages", m.passed.telemetrySent/minutes).notef("%s were asked of it", thousands(perMinute))
	b.out.one("telemetry that the operator read a minute", "messages", m.passed.telemetryRead/minutes)
	b.out.one(fmt.Sprintf("end of %s until the operator had read what was sent in it", b.size.minute), "s", m.behind.Seconds()).
		notef("telemetry and all other events; looked at every 0.1 s")
	b.out.add("edit beside telemetry and "+thousands(twinEvents)+" twin events a second", "ms", m.edits).
		notef("p99 %s ms, idle p99 %s ms", number(m.edits.quantile(0.99)), number(idle.quantile(0.99)))
	b.out.one("edit beside telemetry, median / idle median", "ratio", m.edits.median()/idle.median())
	b.out.one("processor time of the operator for 1,000 messages that it read", "ms", milliseconds(m.used.cpu[operator])/m.passed.telemetryRead*1000).
		notef("twin events and edits included")
	b.out.one("processor time of the simulator for 1,000 messages that it sent", "ms", milliseconds(m.used.cpu[hub])/m.passed.telemetrySent*1000)
	b.out.one("calls of the hub that are not an edit's", "calls", float64(m.used.hubCalls()-len(m.edits))).
		notef("a report that crosses a write of ours on its way is settled by a read")
}
