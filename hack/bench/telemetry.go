package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/internal/simulator"
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
	const perMinute, perRound, twinEvents = 1_000_000, 2, 100
	senders := b.size.most() / 10
	if err := b.settle(ctx, b.size.fewest(), 3); err != nil {
		return err
	}
	idle, err := b.chainOfOperator(ctx, b.size.edits)
	if err != nil {
		return err
	}
	interval := time.Duration(senders*perRound) * time.Minute / perMinute
	b.serial++
	flood := fleet{prefix: fmt.Sprintf("flood%d", b.serial), count: senders}
	err = b.Hub().AddDevices(ctx, flood.prefix+"-%05d", flood.count, simulator.Spec{
		Model: simulator.TemperatureController, Telemetry: simulator.Telemetry{Interval: interval},
	})
	if err != nil {
		return err
	}
	during, used, messages, err := b.editsBeside(ctx, twinEvents)
	if err != nil {
		return err
	}
	err = each(ctx, flood.count, clients, func(ctx context.Context, i int) error { return b.Hub().DeleteDevice(ctx, flood.name(i)) })
	if err != nil {
		return err
	}
	seconds := b.size.minute.Seconds()
	b.out.one("telemetry that the simulator sent a minute", "messages", float64(messages)/seconds*60).notef("%s were asked of it", thousands(perMinute))
	b.out.add("edit beside telemetry and "+thousands(twinEvents)+" twin events a second", "ms", during).
		notef("p99 %s ms, idle p99 %s ms", number(during.quantile(0.99)), number(idle.quantile(0.99)))
	b.out.one("edit beside telemetry, median / idle median", "ratio", during.median()/idle.median())
	b.out.one("processor time of the operator for 1,000 messages", "ms", milliseconds(used.cpu[operator])/float64(messages)*1000)
	b.out.one("processor time of the simulator for 1,000 messages", "ms", milliseconds(used.cpu[hub])/float64(messages)*1000)
	b.out.one("calls of the hub that are not an edit's", "calls", float64(used.hubCalls()-len(during))).
		notef("a report that crosses a write of ours on its way is settled by a read")
	return b.awaitSettled(ctx)
}

// editsBeside edits devices one by one for a minute, while devices report what nobody declared that often a second.
func (b *bench) editsBeside(ctx context.Context, twinEvents int) (during sample, used usage, messages int, err error) {
	seconds := int(b.size.minute.Seconds())
	counts, err := b.Hub().EventCounts(ctx)
	if err != nil {
		return nil, used, 0, err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return nil, used, 0, err
	}
	reporting, end := context.WithCancel(ctx)
	defer end()
	reported := make(chan error, 1)
	go func() {
		reported <- everySecond(reporting, twinEvents, seconds, func(n int) error {
			return b.Hub().PatchReported(reporting, b.present.name(n%b.present.count), fmt.Sprintf(`{"uptime":%d}`, n))
		})
	}()
	until := time.Now().Add(b.size.minute)
	for i := 0; time.Now().Before(until); i++ {
		one, err := b.timedEdit(ctx, b.present.name(i%b.present.count))
		if err != nil {
			return nil, used, 0, err
		}
		during = append(during, one)
	}
	if err := <-reported; err != nil {
		return nil, used, 0, err
	}
	after, err := b.usage(ctx)
	if err != nil {
		return nil, used, 0, err
	}
	now, err := b.Hub().EventCounts(ctx)
	return during, after.since(before), now[simulator.SourceTelemetry] - counts[simulator.SourceTelemetry], err
}
