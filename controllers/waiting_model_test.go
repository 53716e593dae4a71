package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

var _ = Describe("A DeviceModel that waits for another one", func() {
	It("has not failed", func() {
		s := newSite()
		s.createModel("temperaturecontroller")
		s.eventuallyModel("temperaturecontroller", beWaiting(v1alpha1.ReasonMissingInterfaces))
		waiting := &v1alpha1.DeviceModel{}
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(s.sampleModel("temperaturecontroller")), waiting)).To(Succeed())
		Expect(kstatusOf(waiting)).To(Equal("InProgress"))
		s.createModel("thermostat")
		s.eventuallyModel("temperaturecontroller", haveReady(metav1.ConditionTrue, v1alpha1.ReasonUsable))
	})
})
