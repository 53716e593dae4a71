package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names of a testbed's objects in its cluster.
const (
	Namespace         = "factory"
	OperatorNamespace = "pnp-system"
	operatorAccount   = "pnp-operator"

	// DevicesResource is PnPDevices alone: "pnp" is a category as well, and then means IoTHubs too.
	DevicesResource = "pnpdevices.iot.pnp-operator.io"
)

// Kubectl runs kubectl as one identity.
type Kubectl struct {
	Under      []string // the words of a command that becomes kubectl, which it is given with its arguments
	Program    string
	Kubeconfig string
	Out        *Report
}

// Command leaves out what a user's own settings of kubectl would change.
func (k Kubectl) Command(ctx context.Context, args ...string) *exec.Cmd {
	words := slices.Concat(k.Under, []string{k.Program}, args)
	cmd := NewCommand(ctx, words[0], words[1:]...)
	cache := filepath.Join(filepath.Dir(k.Kubeconfig), "kubectl-cache")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.Kubeconfig, "KUBECACHEDIR="+cache, "KUBERC=off")
	return cmd
}

// Output returns what kubectl prints. in is its standard input.
func (k Kubectl) Output(ctx context.Context, in string, args ...string) (string, error) {
	cmd := k.Command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &stdout, &stderr
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", CommandLine(append([]string{"kubectl"}, args...)...), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// Show runs a command that the user should see, with what it prints.
func (k Kubectl) Show(ctx context.Context, args ...string) (string, error) {
	return k.ShowInput(ctx, "", args...)
}

// ShowInput is show for a command that reads in, which is not shown.
func (k Kubectl) ShowInput(ctx context.Context, in string, args ...string) (string, error) {
	out, err := k.Output(ctx, in, args...)
	if err != nil {
		return out, err
	}
	k.Out.Block("$ "+CommandLine(append([]string{"kubectl"}, args...)...), out)
	return out, nil
}

// Established waits until definitions can be used, named as in crd/NAME. kubectl wait fails at one
// that is so new that it has no conditions yet, and is asked again then.
func (k Kubectl) Established(ctx context.Context, names ...string) error {
	const within = 20 * time.Second
	var failed error
	late := func() error { return failed }
	return PollEvery(ctx, 100*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		_, failed = k.Show(ctx, append([]string{"wait", "--for=condition=Established", "--timeout=" + within.String()}, names...)...)
		if failed != nil && !strings.Contains(failed.Error(), "accessor error") {
			return false, failed
		}
		return failed == nil, nil
	})
}

// Get decodes what `kubectl get -o json` returns.
func (k Kubectl) Get(ctx context.Context, into any, args ...string) error {
	out, err := k.Output(ctx, "", append([]string{"get", "-o", "json"}, args...)...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("decoding what kubectl get %s printed: %w", strings.Join(args, " "), err)
	}
	return nil
}

// can asks whether the identity may do something, and shows the answer.
func (k Kubectl) can(ctx context.Context, words ...string) (string, error) {
	out, err := k.Output(ctx, "", append([]string{"auth", "can-i"}, words...)...)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !strings.HasPrefix(out, "no")) {
		return "", err
	}
	answer, _, _ := strings.Cut(strings.TrimSpace(out), " ")
	k.Out.Sayf("$ kubectl auth can-i %s    %s", CommandLine(words...), answer)
	return answer, nil
}
