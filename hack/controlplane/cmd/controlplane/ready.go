package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"
)

// getter returns a function that asks server for each of the paths, showing the certificate called name, and fails at the
// first that is not answered with status 200.
func (c *controlPlane) getter(name, server string, paths ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		config, err := clientTLS(filepath.Join(c.dir, keysFolder), name)
		if err != nil {
			return err
		}
		transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
		client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
		for _, path := range paths {
			if err := get(ctx, client, server+path); err != nil {
				return err
			}
		}
		return nil
	}
}

// get fails unless url is answered with status 200.
func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking for %q: %w", url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking for %q: %w", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	const limit = 1 << 10
	body, _ := io.ReadAll(io.LimitReader(response.Body, limit))
	return fmt.Errorf("asking for %q: %s: %s", url, response.Status, body)
}
