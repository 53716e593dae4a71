package main

import (
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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

func TestACommandLineIsShownAsAUserWouldTypeIt(t *testing.T) {
	got := commandLine("kubectl", "wait", "--for=condition=Ready", "-k", "/a folder", "{.items}")
	if want := `kubectl wait --for=condition=Ready -k '/a folder' '{.items}'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheHubsEnvironmentIsRead(t *testing.T) {
	got := parseEnv("HUB_HOST_NAME=h\nHUB_CONNECTION_STRING=HostName=h;SharedAccessKey=k==\n\n")
	want := map[string]string{"HUB_HOST_NAME": "h", "HUB_CONNECTION_STRING": "HostName=h;SharedAccessKey=k=="}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
