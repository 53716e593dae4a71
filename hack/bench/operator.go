package main

import (
	"context"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
)

// lifted has the operator's own limit on requests to the API server out of the way.
var lifted = []string{"--kube-api-qps=100000"}

// start has the operator run, unless it does.
func (b *bench) start(ctx context.Context, flags ...string) error {
	if b.runs {
		return nil
	}
	return b.launch(ctx, flags...)
}

// launch starts the operator with its own rights and without a webhook.
func (b *bench) launch(ctx context.Context, flags ...string) error {
	addresses, err := freeport.Addresses(2) // of metrics and probes
	if err != nil {
		return err
	}
	b.metrics = addresses[0]
	b.runs = true
	_, err = b.LaunchOperator(ctx, b.Manager(), addresses[1], append([]string{"--metrics-bind-address=" + b.metrics, "--metrics-secure=false"}, flags...)...)
	return err
}

func (b *bench) stop() error {
	if !b.runs {
		return nil
	}
	b.runs = false
	_, err := b.Manager().Stop(30 * time.Second)
	return err
}

// restart starts the operator anew, and returns when it began to.
func (b *bench) restart(ctx context.Context) (began time.Time, err error) {
	if err := b.stop(); err != nil {
		return began, err
	}
	began = time.Now()
	return began, b.launch(ctx)
}
