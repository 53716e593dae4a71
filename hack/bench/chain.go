package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// chain measures one edit after the other from apply to the acknowledgement in status, and the same done by hand: a watch, a write, the event of the
// acknowledgement, and a status patch after each of the two.
func (b *bench) chain(ctx context.Context, count int) error {
	f, err := b.newFloor(ctx)
	if err != nil {
		return err
	}
	if err := b.settle(ctx, count, 3); err != nil {
		return err
	}
	var operators, floors, ratio sample
	for n := range b.size.repetitions {
		own, err := b.chainOfOperator(ctx, b.size.edits)
		if err != nil {
			return err
		}
		hand, err := b.chainOfFloor(ctx, f, b.size.edits)
		if err != nil {
			return err
		}
		if err := b.start(ctx); err != nil {
			return err
		}
		operators, floors = append(operators, own...), append(floors, hand...)
		ratio = append(ratio, own.quantile(0.99)/hand.quantile(0.99))
		b.Out.Sayf("    round %d: operator p50 %.1f ms, p99 %.1f ms; by hand p50 %.1f ms, p99 %.1f ms", n+1, own.median(), own.quantile(0.99), hand.median(), hand.quantile(0.99))
	}
	b.compareChains(count, operators, floors, ratio)
	return nil
}

func (b *bench) compareChains(count int, operators, floors, ratio sample) {
	of := thousands(count) + " devices"
	row := b.out.add("apply to acknowledged in status, p99, operator / by hand, "+of, "ratio", ratio)
	if count == b.size.most() {
		row.atMost(1.5)
	}
	b.out.one("apply to acknowledged in status, median, operator / by hand, "+of, "ratio", operators.median()/floors.median())
	b.out.add("apply to acknowledged in status, operator, "+of, "ms", operators).notef("p99 %s ms", number(operators.quantile(0.99)))
	b.out.add("apply to acknowledged in status, by hand, "+of, "ms", floors).notef("p99 %s ms", number(floors.quantile(0.99)))
	b.out.point("operator p50 ms", count, operators.median())
	b.out.point("operator p99 ms", count, operators.quantile(0.99))
	b.out.point("by hand p50 ms", count, floors.median())
	b.out.point("by hand p99 ms", count, floors.quantile(0.99))
}

// chainOfOperator edits devices one after the other and returns the milliseconds that each took.
func (b *bench) chainOfOperator(ctx context.Context, edits int) (sample, error) {
	if err := b.calm(ctx); err != nil {
		return nil, err
	}
	var took sample
	for i := range edits {
		one, err := b.timedEdit(ctx, b.present.name(i*7%b.present.count))
		if err != nil {
			return nil, err
		}
		took = append(took, one)
	}
	return took, nil
}

func (b *bench) timedEdit(ctx context.Context, name string) (float64, error) {
	began := time.Now()
	generation, err := b.edit(ctx, name)
	if err != nil {
		return 0, err
	}
	at, err := b.seen.await(ctx, name, generation)
	return milliseconds(at.Sub(began)), err
}

// calm waits until the operator has nothing left to do after its start.
func (b *bench) calm(ctx context.Context) error {
	last := -1.0
	return b.until(ctx, "quiet operator", func() (int, int) {
		if !pause(ctx, 500*time.Millisecond) {
			return 0, 1
		}
		m, err := b.operatorMetrics(ctx)
		if err != nil {
			return 0, 1
		}
		passes, depth := m.sum("controller_runtime_reconcile_total", `controller="pnpdevice"`), m.sum("workqueue_depth", `name="pnpdevice"`)
		quiet := passes == last && depth == 0 && passes >= float64(b.present.count)
		last = passes
		if quiet {
			return 1, 1
		}
		return 0, 1
	})
}

// chainOfFloor does what the operator does for an edit, by hand, while the operator is away.
func (b *bench) chainOfFloor(ctx context.Context, f *floor, edits int) (sample, error) {
	if err := b.stop(); err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	hand, err := b.byHand(ctx, f)
	if err != nil {
		end()
		return nil, err
	}
	var took sample
	for i := range edits {
		var one float64
		if one, err = b.timedEdit(ctx, b.present.name(i*7%b.present.count)); err != nil {
			break
		}
		took = append(took, one)
	}
	end()
	return took, errors.Join(err, hand.wait())
}

// byHand follows edits and acknowledgements like a program that does nothing else.
type byHand struct {
	*floor

	reader  *azeventhubs.ConsumerClient
	watched sync.WaitGroup
	mu      sync.Mutex
	failed  error
	twins   map[string]*twin.Twin // as they are at the hub
	answers map[string]chan *twin.Notification
}

func (b *bench) byHand(ctx context.Context, f *floor) (*byHand, error) {
	h := &byHand{floor: f, twins: map[string]*twin.Twin{}, answers: map[string]chan *twin.Notification{}}
	for i := range b.size.edits { // what is known beforehand: the operator knows it from status
		name := b.present.name(i * 7 % b.present.count)
		if h.twins[name] != nil {
			continue
		}
		t, err := f.hub.GetTwin(ctx, name)
		if err != nil {
			return nil, err
		}
		h.twins[name], h.answers[name] = t, make(chan *twin.Notification, 1)
	}
	if err := h.listen(ctx, b.HubEnv); err != nil {
		return nil, err
	}
	var list v1alpha1.PnPDeviceList
	if err := b.client.List(ctx, &list, client.InNamespace(namespace), client.Limit(1)); err != nil {
		return nil, err
	}
	events, err := b.client.Watch(ctx, &v1alpha1.PnPDeviceList{}, client.InNamespace(namespace), &client.ListOptions{Raw: since(list.ResourceVersion)})
	if err != nil {
		return nil, fmt.Errorf("watching PnPDevices: %w", err)
	}
	h.watched.Go(func() {
		defer events.Stop()
		for e := range events.ResultChan() {
			device, ok := e.Object.(*v1alpha1.PnPDevice)
			if ok && device.Generation != device.Status.ObservedGeneration {
				h.fail(ctx, h.follow(ctx, device))
			}
		}
	})
	return h, nil
}

func (h *byHand) fail(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = errors.Join(h.failed, err)
}

// wait ends the following. A consumer group has five readers at most, and the next round needs one as well.
func (h *byHand) wait() error {
	h.watched.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := h.reader.Close(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.failed, err)
}

// follow writes an edit, shows that, waits for the device's answer, and shows that as well.
func (h *byHand) follow(ctx context.Context, device *v1alpha1.PnPDevice) error {
	t, err := h.write(ctx, device, h.twins[device.Name])
	if err != nil {
		return err
	}
	if device, err = h.tell(ctx, device, t, "Applied"); err != nil {
		return err
	}
	for {
		select {
		case n := <-h.answers[device.Name]:
			if n.Reported == nil {
				continue // the event of our own write
			}
			t.Version = n.Version
			h.twins[device.Name] = t
			_, err = h.tell(ctx, device, t, "Acknowledged")
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// listen reads the events of the hub from now on, with the operator's own client and decoder.
func (h *byHand) listen(ctx context.Context, env map[string]string) error {
	config, err := tlsOf(env)
	if err != nil {
		return err
	}
	c, err := azeventhubs.NewConsumerClientFromConnectionString(env["EVENTHUB_CONNECTION_STRING"], "", azeventhubs.DefaultConsumerGroup,
		&azeventhubs.ConsumerClientOptions{TLSConfig: config, CustomEndpoint: env["EVENTHUB_ADDRESS"]})
	if err != nil {
		return err
	}
	h.reader = c
	properties, err := c.GetEventHubProperties(ctx, nil)
	if err != nil {
		return fmt.Errorf("reading the event hub's properties: %w", err)
	}
	for _, id := range properties.PartitionIDs {
		end, err := c.GetPartitionProperties(ctx, id, nil)
		if err != nil {
			return fmt.Errorf("reading the properties of partition %s: %w", id, err)
		}
		p, err := c.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{
			StartPosition: azeventhubs.StartPosition{SequenceNumber: &end.LastEnqueuedSequenceNumber}, Prefetch: 128,
		})
		if err != nil {
			return fmt.Errorf("opening partition %s: %w", id, err)
		}
		h.watched.Go(func() {
			h.fail(ctx, h.hear(ctx, p))
			h.fail(ctx, p.Close(context.WithoutCancel(ctx)))
		})
	}
	return nil
}

func (h *byHand) hear(ctx context.Context, p *azeventhubs.PartitionClient) error {
	for {
		events, err := p.ReceiveEvents(ctx, 1, nil)
		if err != nil {
			return err
		}
		for _, e := range events {
			event, err := eventstream.Decode(eventstream.Message{Annotations: e.SystemProperties, Properties: e.Properties, Body: e.Body, SequenceNumber: e.SequenceNumber})
			if err != nil {
				return err
			}
			if answer := h.answers[event.DeviceID]; answer != nil && event.Twin != nil {
				answer <- event.Twin
			}
		}
	}
}
