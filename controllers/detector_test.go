package controllers_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"
)

// detectorNotice is what client-go says of each cache while KUBE_CACHE_MUTATION_DETECTOR is set, as `make test` has it: that
// takes memory, which is meant here.
const detectorNotice = "Mutation detector is enabled"

// init leaves it out of what client-go says: it came once for each spec.
func init() {
	klog.SetLogger(funcr.New(func(_, text string) {
		if !strings.Contains(text, detectorNotice) {
			_, _ = fmt.Fprintln(os.Stderr, text)
		}
	}, funcr.Options{}))
}
