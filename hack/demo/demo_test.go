package main

import (
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func TestATableThatOnlyAgedIsNotNews(t *testing.T) {
	before := "NAME   ACKED   STATUS            AGE\na      1/1     all is well       9s\n"
	aged := "NAME   ACKED   STATUS            AGE\na      1/1     all is well       10s\n"
	changed := "NAME   ACKED   STATUS            AGE\na      0/1     all is well       10s\n"
	if withoutAges(before) != withoutAges(aged) {
		t.Errorf("%q is news after %q", aged, before)
	}
	if withoutAges(aged) == withoutAges(changed) {
		t.Errorf("%q is no news after %q", changed, aged)
	}
}

func TestAnUnusableCommandLineIsAnswered(t *testing.T) {
	for name, args := range map[string][]string{"no command": nil, "an unknown one": {"sideways"}, "two": {"up", "down"}} {
		t.Run(name, func(t *testing.T) {
			var stderr strings.Builder
			if err := execute(t.Context(), args, io.Discard, &stderr); !errors.Is(err, errUsage) || !strings.Contains(stderr.String(), "usage: demo") {
				t.Errorf("error is %v, printed %q", err, stderr.String())
			}
		})
	}
}

func TestAComponentIsRemovedWhereverItStands(t *testing.T) {
	device := &v1alpha1.PnPDevice{Spec: v1alpha1.PnPDeviceSpec{Components: []v1alpha1.ComponentDeclaration{{Name: "x"}, {Name: "y"}}}}
	got, err := removalOf(device, "y")
	if err != nil || got.Path != "/spec/components/1" {
		t.Errorf("removalOf = %v, %v", got, err)
	}
	if _, err := removalOf(device, "z"); err == nil {
		t.Error("a component that is not declared can be removed")
	}
}

func TestAShellReadsTheEnvironmentBackAsItWas(t *testing.T) {
	for name, value := range map[string]string{
		"a connection string": "HostName=h.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=a+b/c==",
		"a quote":             "it's",
		"what a shell reads":  "$HOME `id` \\ \"x\" *",
		"nothing":             "",
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command("sh", "-c", "export "+shellEnv(map[string]string{"KEY": value})+`printf %s "$KEY"`).Output()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(value, string(out)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
