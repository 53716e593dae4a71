package chaos

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/test/chaos/oracle"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// watchesBack is how long a client may take to hear of changes again after the API server is back: client-go waits longer and longer for it.
const watchesBack = 30 * time.Second

// stopServer kills the API server. Its etcd stays.
func (k *storm) stopServer(ctx context.Context) error {
	isHeld := k.server != nil
	k.down, k.isDown = time.Now(), true
	line, err := k.APIServer().Kill(ctx)
	if err != nil {
		return err
	}
	k.server = line
	if isHeld {
		return nil
	}
	return holdPort(line)
}

// holdPort keeps other runs from the port of a server that is down from time to time.
func holdPort(line []string) error {
	const flag = "--secure-port="
	i := slices.IndexFunc(line, func(arg string) bool { return strings.HasPrefix(arg, flag) })
	if i < 0 {
		return fmt.Errorf("the API server was started without %s: %q", flag, line)
	}
	port, err := strconv.Atoi(line[i][len(flag):])
	if err != nil {
		return fmt.Errorf("reading the port of the API server: %w", err)
	}
	return freeport.Hold(port)
}

// startServer starts it as it was, at the same port and over the same etcd, and waits until it answers.
func (k *storm) startServer(ctx context.Context) error {
	p := k.APIServer()
	k.isDown = false
	ended, err := p.Start(k.server[0], k.server[1:]...)
	if err != nil {
		return err
	}
	err = p.Await(ctx, ended, 3*time.Minute, func() error {
		return k.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: harness.SampleHub}, &v1alpha1.IoTHub{})
	})
	k.history.Blind(oracle.Span{From: k.down, To: time.Now().Add(watchesBack)})
	return err
}
