package controllers_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// program is the operator as a process of its own, which can be killed.
type program struct {
	binary, kubeconfig, log string
	args                    []string // beside those that every one has
	port                    string   // of the probes
	cmd                     *exec.Cmd
}

// newProgram builds the operator. While a test uses it, the one in this process rests.
func newProgram() *program {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	p := &program{binary: filepath.Join(dir, "manager"), kubeconfig: filepath.Join(dir, "kubeconfig"), log: filepath.Join(dir, "log")}
	out, err := exec.Command("go", "build", "-o", p.binary, "..").CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	config := rest.CopyConfig(environment.Config)
	Expect(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Impersonate: operatorUser, ImpersonateGroups: []string{"system:authenticated"}}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, p.kubeconfig)).To(Succeed())
	manager.stop()
	DeferCleanup(func() { manager = startOperator() })
	return p
}

// start runs it and waits until it is ready.
func (p *program) start() {
	GinkgoHelper()
	p.launch()
	Eventually(func() int { return p.probe("/readyz") }, "30s").Should(Equal(http.StatusOK))
}

func (p *program) launch() {
	GinkgoHelper()
	var err error
	p.port, err = freePort()
	Expect(err).NotTo(HaveOccurred())
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(p.binary, append(p.args, "--kubeconfig="+p.kubeconfig, "--allowed-hub-suffixes=.azure-devices.net,localhost",
		"--allowed-event-hub-suffixes=.servicebus.windows.net,localhost,127.0.0.1", "--health-probe-bind-address=127.0.0.1:"+p.port)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	Expect(p.cmd.Start()).To(Succeed())
	DeferCleanup(p.kill)
}

// probe asks as the kubelet does, and returns the status, 0 if nobody answers.
func (p *program) probe(path string) int {
	GinkgoHelper()
	response, err := http.Get("http://127.0.0.1:" + p.port + path)
	if err != nil {
		return 0
	}
	Expect(response.Body.Close()).To(Succeed())
	return response.StatusCode
}

// kill is kill -9.
func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

var _ = Describe("An operator that is killed", func() {
	It("twenty times while 1,000 devices change, loses no change; and a start without events reads nothing", func() {
		const devices, kills, reportsPerSecond = 1000, 20, 200
		seed := uint64(GinkgoRandomSeed())
		random := rand.New(rand.NewPCG(seed, 1))
		AddReportEntry("seed", fmt.Sprint(seed), ReportEntryVisibilityFailureOrVerbose)
		p := newProgram()
		p.start()
		s := newEventSite()
		s.trusted()
		name := func(i int) string { return fmt.Sprintf("device-%04d", i) }
		s.converge(devices, name)

		stopped := make(chan struct{})
		var reporters sync.WaitGroup
		reporters.Go(func() {
			defer GinkgoRecover()
			choose := rand.New(rand.NewPCG(seed, 2))
			tick := time.NewTicker(time.Second / reportsPerSecond)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-stopped:
					return
				case <-tick.C:
					s.report(name(choose.IntN(devices)), `{"targetTemperature":{"value":21.5,"ac":200,"av":2,"ad":"report %d"}}`, n)
				}
			}
		})
		for range kills {
			time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond) // when it is killed is the input of this test
			p.kill()
			p.start()
		}
		close(stopped)
		reporters.Wait()
		Eventually(func() int { return s.differing(devices, name) }, "2m", "1s").Should(BeZero())

		By("starting once more when everything is in status and in the checkpoint")
		Eventually(func() bool { return s.checkpointIsAtTheEnd() }, "30s", "500ms").Should(BeTrue())
		p.kill()
		s.sim.Calls().Reset()
		before := s.resourceVersions()
		p.start()
		Expect(s.sim.Calls().AwaitCount(ctx, simulator.OpQuery, 4)).To(Succeed(), "the probe, and a sweep")
		Expect(s.gets()).To(BeZero())
		Expect(s.resourceVersions()).To(Equal(before))
	})
})

// differing counts the devices whose status does not say what the hub says.
func (s *site) differing(devices int, name func(int) string) int {
	GinkgoHelper()
	shown := map[string]string{}
	for _, d := range s.all() {
		shown[d.Name] = property(d, "", "targetTemperature").AckDescription
	}
	n := 0
	for i := range devices {
		raw, err := s.sim.Hub().Twin(name(i))
		Expect(err).NotTo(HaveOccurred())
		var t struct {
			Properties struct {
				Reported struct {
					TargetTemperature struct {
						AD string `json:"ad"`
					} `json:"targetTemperature"`
				} `json:"reported"`
			} `json:"properties"`
		}
		Expect(json.Unmarshal(raw, &t)).To(Succeed())
		if shown[name(i)] != t.Properties.Reported.TargetTemperature.AD {
			n++
		}
	}
	return n
}
