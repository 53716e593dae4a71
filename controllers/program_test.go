package controllers_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
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
