// Package crd holds the CustomResourceDefinitions, for those who check manifests without a cluster.
package crd

import "embed"

// Bases are the generated CustomResourceDefinitions.
//
//go:embed bases/*.yaml
var Bases embed.FS
