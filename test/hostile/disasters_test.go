package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// disasters are what people do to their own cluster.
var disasters = []attack{
	{name: "crds-deleted", title: "all definitions are deleted and applied again, and objects restored without status", alone: true, play: deleteDefinitions},
	{name: "etcd-restored", title: "etcd is put back to a copy while the operator runs, and Git applies again", alone: true, play: restoreEtcd},
}

func deleteDefinitions(ctx context.Context, h *hostileRun) (string, error) {
	hub := &v1alpha1.IoTHub{}
	if err := h.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: harness.SampleHub}, hub); err != nil {
		return "", err
	}
	device := &v1alpha1.PnPDevice{}
	if err := h.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: victimDevice}, device); err != nil {
		return "", err
	}
	writes, err := h.PatchesOf(ctx, victimDevice)
	if err != nil {
		return "", err
	}
	for _, words := range [][]string{
		{"delete", "-f", h.Path("config/crd/bases")},
		{"apply", "--server-side", "-f", h.Path("config/crd/bases")},
	} {
		if _, err := h.Kubectl.Output(ctx, "", words...); err != nil {
			return "", err
		}
	}
	if err := h.Kubectl.Established(ctx, "-f", h.Path("config/crd/bases")); err != nil {
		return "", err
	}
	for _, object := range []client.Object{
		&v1alpha1.IoTHub{ObjectMeta: harness.ObjectMeta(harness.SampleHub), Spec: hub.Spec}, &v1alpha1.PnPDevice{ObjectMeta: harness.ObjectMeta(victimDevice), Spec: device.Spec},
	} {
		if err := h.createSoon(ctx, object); err != nil {
			return "", err
		}
	}
	if err := h.untilTrue(ctx, device, v1alpha1.ConditionReady, func() []metav1.Condition { return device.Status.Conditions }); err != nil {
		return "", err
	}
	now, err := h.PatchesOf(ctx, victimDevice)
	if err == nil && now != writes {
		err = harness.Missed("writes to a device that was as declared", "none", fmt.Sprint(now-writes))
	}
	return "the same process goes on, and writes nothing", err
}

// createSoon creates an object once the API server knows its kind again.
func (h *hostileRun) createSoon(ctx context.Context, object client.Object) error {
	var last error
	late := func() error { return fmt.Errorf("creating %T %q: %w", object, object.GetName(), last) }
	return harness.Poll(ctx, withinPromise, late, func(ctx context.Context) (bool, error) {
		last = h.Client.Create(ctx, object)
		return last == nil, nil
	})
}

// checkLogs wants every line of the operator to be JSON, whatever others had it say, and no key in any.
func (h *hostileRun) checkLogs() error {
	files, err := filepath.Glob(filepath.Join(h.operator.folder, "manager-*.log"))
	if err != nil {
		return err
	}
	lines := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(raw)) {
			lines++
			if err := checkLine(strings.TrimSuffix(line, "\n"), append(keysIn(h.HubEnv), keysIn(h.theirs.HubEnv)...)); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
		}
	}
	h.Out.Passf("%d lines of log are JSON, without a key", lines)
	return nil
}

func checkLine(line string, keys []string) error {
	if !json.Valid([]byte(line)) {
		return harness.Missed("a line of the operator's log", "JSON", fmt.Sprintf("%.200q", line))
	}
	for _, key := range keys {
		if strings.Contains(line, key) {
			return harness.Missed("a line of the operator's log", "no key of a hub", "one")
		}
	}
	return nil
}

// keysIn are the keys of the connection strings of a hub.
func keysIn(env map[string]string) []string {
	var keys []string
	for _, value := range env {
		_, rest, found := strings.Cut(value, "SharedAccessKey=")
		if key, _, _ := strings.Cut(rest, ";"); found && key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}
