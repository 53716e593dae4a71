package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/process"
)

const endTrialUsage = `Usage: pnp-operator end-trial --devices-namespace=NAMESPACE

Deletes the PnPDevices of a trial and waits until the operator has cleared those that say so; then ends the operator's pods,
which give up their lease while they may. The chart runs it before a release with a simulator is uninstalled: afterwards nobody is left
to do either.

`

// EndTrial is "pnp-operator end-trial". It returns its exit status.
func EndTrial(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("end-trial", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = io.WriteString(stderr, endTrialUsage); flags.PrintDefaults() }
	devices := flags.String("devices-namespace", "", "The namespace whose PnPDevices are deleted.")
	namespace := flags.String("namespace", process.OwnNamespace(), "The operator's namespace.")
	within := flags.Duration("timeout", 4*time.Minute, "How long the operator may take to clear.")
	config.RegisterFlags(flags)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0 || *devices == "":
		flags.Usage()
		return 2
	}
	if err := endTrial(ctrl.SetupSignalHandler(), *devices, *namespace, *within); err != nil {
		_, _ = fmt.Fprintf(stderr, "end-trial: %v\n", err)
		return 1
	}
	return 0
}

func endTrial(ctx context.Context, devices, namespace string, within time.Duration) error {
	cluster, err := config.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	uncached, err := client.New(cluster, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	t := trial{Client: uncached, devices: devices, namespace: namespace, pause: 300 * time.Millisecond}
	if err := t.deleteDevices(ctx, within); err != nil {
		return err
	}
	return t.endOperator(ctx, 30*time.Second)
}

// trial is a release with a simulator.
type trial struct {
	client.Client // without a cache
	devices       string
	namespace     string
	pause         time.Duration // between two looks
}

// deleteDevices deletes PnPDevices until there are none.
func (t trial) deleteDevices(ctx context.Context, within time.Duration) error {
	var left []string
	err := wait.PollUntilContextTimeout(ctx, t.pause, within, true, func(ctx context.Context) (bool, error) {
		list := &v1alpha1.PnPDeviceList{}
		if err := t.List(ctx, list, client.InNamespace(t.devices)); err != nil {
			return false, fmt.Errorf("listing PnPDevices of namespace %q: %w", t.devices, err)
		}
		left = nil
		for i := range list.Items {
			left = append(left, list.Items[i].Name)
			if err := t.deleteOnce(ctx, list.Items[i]); err != nil {
				return false, err
			}
		}
		return len(left) == 0, nil
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("%d PnPDevices of namespace %q are not cleared after %s, such as %s: see whether the operator runs, or uninstall with --no-hooks and take their finalizers away",
			len(left), t.devices, within, strings.Join(left[:min(3, len(left))], ", "))
	}
	return err
}

func (t trial) deleteOnce(ctx context.Context, device *v1alpha1.PnPDevice) error {
	if !device.DeletionTimestamp.IsZero() {
		return nil
	}
	if err := client.IgnoreNotFound(t.Delete(ctx, device)); err != nil {
		return fmt.Errorf("deleting PnPDevice %q: %w", device.Name, err)
	}
	return nil
}

// podLabels are those of the operator's pods.
var podLabels = client.MatchingLabels{"app.kubernetes.io/name": "pnp-operator"}

// endOperator scales the operator down, and waits until none of its pods is left. Each may give up
// the lease for as long as its rights are there, and the next one may take it before it is told to
// stop, so a lease that nobody holds says nothing while pods run. Pods that do not end are not waited
// for: the next installation waits for their lease.
func (t trial) endOperator(ctx context.Context, within time.Duration) error {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: "pnp-operator"}}
	none := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":0}}`))
	err := t.SubResource("scale").Patch(ctx, deployment, none, client.WithSubResourceBody(&autoscalingv1.Scale{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("ending the operator: %w", err)
	}
	err = wait.PollUntilContextTimeout(ctx, t.pause, within, true, func(ctx context.Context) (bool, error) {
		pods := &corev1.PodList{}
		if err := t.List(ctx, pods, client.InNamespace(t.namespace), podLabels); err != nil {
			return false, fmt.Errorf("listing the pods of namespace %q: %w", t.namespace, err)
		}
		return !slices.ContainsFunc(pods.Items, mayRun), nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return nil
	}
	return err
}

// mayRun reports whether a pod has processes, or may get some.
func mayRun(pod corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}
