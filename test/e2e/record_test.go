package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// scrapeEvery is more often than usual, since a run is short.
const scrapeEvery = 3 * time.Second

// recorded are the metrics that the dashboard may ask for.
var recorded = regexp.MustCompile(`^(pnp_|leader_election_|workqueue_depth|controller_runtime_reconcile_errors_total|process_cpu_seconds_total|process_resident_memory_bytes)`)

var errNoToken = errors.New("the operator asks for a token")

// metricsOf is a client of the operator's metrics, as the ServiceAccount that the release lets read them.
type metricsOf struct {
	url, token string
	client     *http.Client
}

// record checks who may read the metrics, and with $RECORD writes them to that file as OpenMetrics until stop is called: what the dashboard is tested with.
func record(ctx context.Context, d *harness.Testbed) (stop func() error, err error) {
	token, err := d.Kubectl.Output(ctx, "", "create", "token", harness.ScraperAccount, "-n", harness.MonitoringNamespace)
	if err != nil {
		return nil, err
	}
	m := metricsOf{"https://" + d.Metrics + "/metrics", "", &http.Client{
		Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // the operator signs its own certificate
	}}
	var refused error
	late := func() error { return harness.Missed("metrics without a token", "401", fmt.Sprint(refused)) }
	err = harness.Poll(ctx, harness.WithinScenario, late, func(ctx context.Context) (bool, error) {
		_, refused = m.scrape(ctx)
		return errors.Is(refused, errNoToken), nil // the port is opened a moment after the operator is ready
	})
	if err != nil {
		return nil, err
	}
	m.token = strings.TrimSpace(token)
	if _, err := m.scrape(ctx); err != nil {
		return nil, err
	}
	d.Out.Passf("Prometheus reads metrics, and nobody without a token")
	path := os.Getenv("RECORD")
	if path == "" {
		return func() error { return nil }, nil
	}
	return m.writeTo(ctx, path)
}

func (m metricsOf) scrape(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, nil)
	if err != nil {
		return nil, err
	}
	if m.token != "" {
		request.Header.Set("Authorization", "Bearer "+m.token)
	}
	response, err := m.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusOK:
		return io.ReadAll(response.Body)
	case http.StatusUnauthorized:
		return nil, errNoToken
	}
	return nil, fmt.Errorf("%s answers %s", m.url, response.Status)
}

func (m metricsOf) writeTo(ctx context.Context, path string) (stop func() error, err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.scrapes(ctx, file) }()
	return func() error {
		cancel()
		err := <-done
		_, end := io.WriteString(file, "# EOF\n")
		return errors.Join(err, end, file.Close())
	}, nil
}

func (m metricsOf) scrapes(ctx context.Context, to io.Writer) error {
	tick := time.NewTicker(scrapeEvery)
	defer tick.Stop()
	for {
		at := time.Now()
		text, err := m.scrape(ctx)
		if err == nil {
			err = writeSamples(to, text, at)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// writeSamples adds to samples what Prometheus would: time, job and instance.
func writeSamples(to io.Writer, text []byte, at time.Time) error {
	var b bytes.Buffer
	for line := range strings.Lines(string(text)) {
		if !recorded.MatchString(line) {
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		series, value := line[:cut], strings.TrimSpace(line[cut:])
		name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		if labels != "" {
			labels = "," + labels
		}
		_, _ = fmt.Fprintf(&b, "%s{job=\"pnp-operator\",instance=\"pnp-operator-0\"%s} %s %d.%03d\n", name, labels, value, at.Unix(), at.Nanosecond()/1e6)
	}
	_, err := to.Write(b.Bytes())
	return err
}
