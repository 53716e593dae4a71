package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// tableWatch prints `kubectl get pnp` each time it changes.
type tableWatch struct {
	kubectl harness.Kubectl
	out     *harness.Report
	end     context.CancelFunc
	done    chan struct{}

	mu       sync.Mutex
	headline string
	last     string // without the ages
}

// watchTable starts to print the table. It takes its cue from `kubectl get --watch`, whose own rows come one by one.
func (d *demo) watchTable(ctx context.Context) (*tableWatch, error) {
	ctx, end := context.WithCancel(ctx)
	cmd := d.Kubectl.Command(ctx, "get", harness.DevicesResource, "-n", harness.Namespace, "--watch", "--no-headers")
	rows, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("watching the table: %w", err)
	}
	w := &tableWatch{kubectl: d.Kubectl, out: d.Out, end: end, done: make(chan struct{})}
	cues := make(chan struct{}, 1)
	go func() {
		defer close(cues)
		for lines := bufio.NewScanner(rows); lines.Scan(); {
			select {
			case cues <- struct{}{}:
			default: // the look that is due will see it
			}
		}
		_ = cmd.Wait() // ended by us, or the checks will tell
	}()
	go w.run(ctx, cues)
	return w, nil
}

func (w *tableWatch) run(ctx context.Context, cues <-chan struct{}) {
	defer close(w.done)
	for range cues {
		time.Sleep(20 * time.Millisecond) // several rows tend to change together
		w.look(ctx)
	}
}

// look prints the table if it changed.
func (w *tableWatch) look(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.print(ctx)
}

func (w *tableWatch) print(ctx context.Context) {
	table, err := w.kubectl.Output(ctx, "", "get", "pnp", "-n", harness.Namespace)
	if err != nil {
		return // the checks will tell
	}
	if bare := withoutAges(table); bare != w.last {
		w.last = bare
		w.out.Block(w.headline, table)
	}
}

// tell changes the headline of the tables to come. What changed until now is printed under the one before.
func (w *tableWatch) tell(ctx context.Context, headline string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.headline != "" {
		w.print(ctx)
	}
	w.headline = "kubectl get pnp -n " + harness.Namespace + "    <- " + headline
}

// stop ends the watch.
func (w *tableWatch) stop() {
	w.end()
	<-w.done
}

// withoutAges cuts the last column off a table of kubectl: ages change without news.
func withoutAges(table string) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		line = strings.TrimRight(line, " \n")
		if cut := strings.LastIndex(line, " "); cut >= 0 {
			line = line[:cut]
		}
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}
