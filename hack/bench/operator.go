package bench

import (
	"context"
	"fmt"
	"net"
	"time"
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

func (b *bench) launch(ctx context.Context, flags ...string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("finding a free port: %w", err)
	}
	b.metrics = listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	b.runs = true
	return b.StartOperator(ctx, append([]string{"--metrics-bind-address=" + b.metrics, "--metrics-secure=false"}, flags...)...)
}

func (b *bench) stop() error {
	if !b.runs {
		return nil
	}
	b.runs = false
	return b.StopOperator()
}

// restart starts the operator anew, and returns when it began to.
func (b *bench) restart(ctx context.Context) (began time.Time, err error) {
	if err := b.stop(); err != nil {
		return began, err
	}
	began = time.Now()
	return began, b.launch(ctx)
}
