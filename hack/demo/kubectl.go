package main

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

const (
	namespace         = "factory"
	operatorNamespace = "pnp-system"
	operatorAccount   = "pnp-operator"

	// devicesResource is PnPDevices alone: "pnp" is a category as well, and then means IoTHubs too.
	devicesResource = "pnpdevices.iot.pnp-operator.io"
)

// kubectl runs kubectl as one identity.
type kubectl struct {
	under      []string // the words of a command that becomes kubectl, which it is given with its arguments
	program    string
	kubeconfig string
	out        *report
}

// command leaves out what a user's own settings of kubectl would change.
func (k kubectl) command(ctx context.Context, args ...string) *exec.Cmd {
	words := slices.Concat(k.under, []string{k.program}, args)
	cmd := newCommand(ctx, words[0], words[1:]...)
	cache := filepath.Join(filepath.Dir(k.kubeconfig), "kubectl-cache")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig, "KUBECACHEDIR="+cache, "KUBERC=off")
	return cmd
}

// output returns what kubectl prints. in is its standard input.
func (k kubectl) output(ctx context.Context, in string, args ...string) (string, error) {
	cmd := k.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &stdout, &stderr
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", commandLine(append([]string{"kubectl"}, args...)...), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// show runs a command that the user should see, with what it prints.
func (k kubectl) show(ctx context.Context, args ...string) (string, error) {
	return k.showInput(ctx, "", args...)
}

// showInput is show for a command that reads in, which is not shown.
func (k kubectl) showInput(ctx context.Context, in string, args ...string) (string, error) {
	out, err := k.output(ctx, in, args...)
	if err != nil {
		return out, err
	}
	k.out.block("$ "+commandLine(append([]string{"kubectl"}, args...)...), out)
	return out, nil
}

// established waits until definitions can be used, named as in crd/NAME. kubectl wait fails at one that is so new that it has
// no conditions yet, and is asked again then.
func (k kubectl) established(ctx context.Context, names ...string) error {
	const within = 20 * time.Second
	var failed error
	late := func() error { return failed }
	return pollEvery(ctx, 100*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		_, failed = k.show(ctx, append([]string{"wait", "--for=condition=Established", "--timeout=" + within.String()}, names...)...)
		if failed != nil && !strings.Contains(failed.Error(), "accessor error") {
			return false, failed
		}
		return failed == nil, nil
	})
}

// get decodes what `kubectl get -o json` returns.
func (k kubectl) get(ctx context.Context, into any, args ...string) error {
	out, err := k.output(ctx, "", append([]string{"get", "-o", "json"}, args...)...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("decoding what kubectl get %s printed: %w", strings.Join(args, " "), err)
	}
	return nil
}

// can asks whether the identity may do something, and shows the answer.
func (k kubectl) can(ctx context.Context, words ...string) (string, error) {
	out, err := k.output(ctx, "", append([]string{"auth", "can-i"}, words...)...)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !strings.HasPrefix(out, "no")) {
		return "", err
	}
	answer, _, _ := strings.Cut(strings.TrimSpace(out), " ")
	k.out.sayf("$ kubectl auth can-i %s    %s", commandLine(words...), answer)
	return answer, nil
}
