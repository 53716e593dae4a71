package declaration

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestDialect(t *testing.T) {
	key := v1alpha1.HubAuthentication{ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{}}
	identity := v1alpha1.HubAuthentication{WorkloadIdentity: &v1alpha1.WorkloadIdentity{}}
	for name, test := range map[string]struct {
		device, hub    v1alpha1.TwinAPI
		authentication v1alpha1.HubAuthentication
		want           twin.Dialect
	}{
		"a connection string means digital twins":    {"", "", key, twin.DigitalTwin},
		"a workload identity means device twins":     {"", "", identity, twin.DeviceTwin},
		"the hub may say otherwise with a key":       {"", v1alpha1.TwinAPIDeviceTwin, key, twin.DeviceTwin},
		"the hub may say otherwise with an identity": {"", v1alpha1.TwinAPIDigitalTwin, identity, twin.DigitalTwin},
		"the device has the last word with a key":    {v1alpha1.TwinAPIDeviceTwin, v1alpha1.TwinAPIDigitalTwin, key, twin.DeviceTwin},
		"and with an identity":                       {v1alpha1.TwinAPIDigitalTwin, "", identity, twin.DigitalTwin},
		"the device has it against the hub":          {v1alpha1.TwinAPIDigitalTwin, v1alpha1.TwinAPIDeviceTwin, key, twin.DigitalTwin},
	} {
		t.Run(name, func(t *testing.T) {
			hub := &v1alpha1.IoTHub{Spec: v1alpha1.IoTHubSpec{TwinAPI: test.hub, Authentication: test.authentication}}
			if got := Dialect(&v1alpha1.PnPDeviceSpec{TwinAPI: test.device}, hub); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
