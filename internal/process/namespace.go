package process

import (
	"os"
	"strings"
)

// OwnNamespace returns the namespace of the pod, or the usual one outside a cluster.
func OwnNamespace() string {
	raw, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return "pnp-system"
	}
	return strings.TrimSpace(string(raw))
}
