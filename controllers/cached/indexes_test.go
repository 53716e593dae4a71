package cached

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// listed lists the same devices whatever is asked for.
type listed struct {
	client.Reader

	devices []*v1alpha1.PnPDevice
}

func (c listed) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.PnPDeviceList).Items = c.devices
	return nil
}

func TestDeclarationsOfADeviceAreNotThoseOfItsNeighbours(t *testing.T) {
	device := func(name, id string) *v1alpha1.PnPDevice {
		return &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PnPDeviceSpec{DeviceID: id}}
	}
	neighbour := "" // another id in the same bucket
	for i := 0; neighbour == ""; i++ {
		if id := fmt.Sprint("device-", i); bucketOf(id) == bucketOf("press") {
			neighbour = id
		}
	}
	found, err := DeclarationsOf(t.Context(), listed{devices: []*v1alpha1.PnPDevice{device("a", "press"), device("b", neighbour), device("press", "")}}, "press")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Name != "a" || found[1].Name != "press" {
		t.Errorf("found %v", found)
	}
}

func TestDevicesSpreadOverTheBucketsOfTheirIndex(t *testing.T) {
	count, most := map[string]int{}, 0
	for i := range 10 * deviceBuckets {
		bucket := bucketOf(fmt.Sprintf("line2-%05d", i))
		count[bucket]++
		most = max(most, count[bucket])
	}
	if most > 40 {
		t.Errorf("one bucket has %d devices of 10 on average", most)
	}
}
