package main

import "github.com/pnp-operator/pnp-operator/test/harness"

// demo is a demonstration: scenarios over a testbed.
type demo struct{ *harness.Testbed }

func newDemo(c harness.Clone, dir string, out *harness.Report) *demo {
	return &demo{harness.NewTestbed(c, dir, out)}
}
