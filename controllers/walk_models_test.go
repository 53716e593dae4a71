package controllers_test

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// fetches has the model of the sample fetched from a folder of its own.
func (s *site) fetches(edits ...func(*v1alpha1.DeviceModel)) (path string) {
	GinkgoHelper()
	path = "/" + s.namespace + "/dtmi/com/example/thermostat-1"
	s.createModel("thermostat", append([]func(*v1alpha1.DeviceModel){func(m *v1alpha1.DeviceModel) {
		m.Spec.DTDL, m.Spec.ModelID = nil, simulator.Thermostat
		m.Spec.Repository = &v1alpha1.ModelRepository{URL: modelRepository.server.URL + "/" + s.namespace}
	}}, edits...)...)
	return path
}

// dtdl is that of the sample.
func (s *site) dtdl() string {
	GinkgoHelper()
	return string(s.sampleModel("thermostat").Spec.DTDL.Raw)
}

// modelIsMended has a DeviceModel be that of the sample.
func (s *site) modelIsMended() {
	GinkgoHelper()
	s.editModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Spec = s.sampleModel("thermostat").Spec })
}

const modelUsable = "True Devices and commands of the model are checked against it"

var walksOfModels = map[string]walk{
	"it is used": {
		from: newSite,
		enter: func(s *site) func() {
			s.createModel("thermostat")
			return nil
		},
		shows: current(v1alpha1.ReasonUsable, modelUsable),
	},
	"it breaks DTDL": {
		from: newSite,
		enter: func(s *site) func() {
			s.createModel("thermostat", inDTDL(`"double"`, `"dubble"`))
			return s.modelIsMended
		},
		shows: fails(v1alpha1.ReasonInvalidModel, "dubble"), within: told,
	},
	"an interface that it needs is missing": {
		from: newSite,
		enter: func(s *site) func() {
			s.createModel("temperaturecontroller")
			return func() { s.createModel("thermostat") }
		},
		shows: waits(v1alpha1.ReasonMissingInterfaces, "dtmi:com:example:Thermostat;1").on("temperaturecontroller"), within: told,
	},
	"another one that it needs breaks DTDL": {
		from: newSite,
		enter: func(s *site) func() {
			s.createModel("thermostat", inDTDL(`"double"`, `"dubble"`))
			s.eventuallyModel("thermostat", beStalled(v1alpha1.ReasonInvalidModel))
			s.createModel("temperaturecontroller")
			return s.modelIsMended
		},
		shows: waits(v1alpha1.ReasonInvalidModel, "Another DeviceModel").on("temperaturecontroller"), within: told,
	},
	"an older one has its modelID": {
		from: newSite,
		enter: func(s *site) func() {
			s.createModel("thermostat")
			s.eventuallyModel("thermostat", beReady())
			s.createModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Name = "zz-second" }, inDTDL(`"double"`, `"integer"`))
			return func() { Expect(admin.Delete(ctx, s.sampleModel("thermostat"))).To(Succeed()) }
		},
		shows: waits(v1alpha1.ReasonModelAlreadyDefined, `"thermostat"`).on("zz-second"), within: told,
	},
	"its repository is not allowed": {
		from: newSite,
		enter: func(s *site) func() {
			s.fetches(func(m *v1alpha1.DeviceModel) { m.Spec.Repository.URL = "https://169.254.169.254/metadata" })
			return s.modelIsMended
		},
		shows: fails(v1alpha1.ReasonRepositoryNotAllowed, "169.254.169.254"), within: told,
	},
	"its repository does not have it": {
		from: newSite,
		enter: func(s *site) func() {
			path := s.fetches()
			return func() { modelRepository.put(path+".json", s.dtdl()) }
		},
		shows: waits(v1alpha1.ReasonModelNotFound, "thermostat-1"), within: asked,
	},
	"its repository fails": {
		from: newSite,
		enter: func(s *site) func() {
			modelRepository.fails("/"+s.namespace, http.StatusServiceUnavailable)
			path := s.fetches()
			return func() {
				modelRepository.fails("", 0)
				modelRepository.put(path+".json", s.dtdl())
			}
		},
		shows: waits(v1alpha1.ReasonRepositoryUnavailable, ""), within: asked,
	},
	"its repository has another one than was pinned": {
		from: newSite,
		enter: func(s *site) func() {
			modelRepository.put("/"+s.namespace+"/dtmi/com/example/thermostat-1.expanded.json", "["+s.dtdl()+"]")
			s.fetches(func(m *v1alpha1.DeviceModel) { m.Spec.Repository.Digest = "sha256:" + strings.Repeat("0", 64) })
			return s.modelIsMended
		},
		shows: waits(v1alpha1.ReasonDigestMismatch, "sha256:"), within: told,
	},
}
