package dtdl

import (
	"fmt"

	"github.com/pnp-operator/pnp-operator/internal/jsonscan"
)

// Bounds of what is parsed, beside DTDL's own limits. Together they keep Parse below 64 MiB, and what it gives below 16 MiB, whatever the documents. The
// largest of 186 published models has 9 KB and 300 values.
const (
	// MaxBytes is how long the documents may be, all of them.
	MaxBytes = 3 << 20
	// MaxValues is how many JSON values they may have: objects, lists and what is in them.
	MaxValues = 80_000
	// MaxInterfaces is how many interfaces they may define. DTDL lets one extend 1024.
	MaxInterfaces = 1500
	// maxInherited is how many ancestors and their contents the interfaces may inherit, each counted
	// for every interface that inherits it.
	maxInherited = 100_000
	// maxMissing is how many elements they may name that they do not define.
	maxMissing = 1000
	// maxErrors and maxErrorBytes bound what is told of them.
	maxErrors     = 1000
	maxErrorBytes = 1 << 20
)

// CheckSize says whether documents may be parsed at all, without decoding them. The error names the bound.
func CheckSize(documents ...[]byte) error {
	size, values := 0, 0
	for _, raw := range documents {
		size += len(raw)
	}
	if size > MaxBytes {
		return fmt.Errorf("the model has %d bytes of JSON, want at most %d", size, MaxBytes)
	}
	for _, raw := range documents {
		values += jsonscan.Values(raw)
	}
	if values > MaxValues {
		return fmt.Errorf("the model has %d JSON values, want at most %d", values, MaxValues)
	}
	return nil
}
