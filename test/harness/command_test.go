package harness

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestACommandLineIsShownAsAUserWouldTypeIt(t *testing.T) {
	got := CommandLine("kubectl", "wait", "--for=condition=Ready", "-k", "/a folder", "{.items}")
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
