package cluster

import (
	"bytes"
	"path/filepath"
	"strings"
	"text/template"
)

// part is a program of a node.
type part struct {
	name string
	args []string
}

// node is one machine of a cluster, as its own processes see it.
type node struct {
	site     string // the cluster's folder
	programs string // the folder of the control plane's and the node's programs
	number   int
	of       int
}

func (n node) dir() string              { return filepath.Join(n.site, NodeName(n.number)) }
func (n node) file(name string) string  { return filepath.Join(n.dir(), name) }
func (n node) key(name string) string   { return filepath.Join(n.site, "pki", name) }
func (n node) log(name string) string   { return n.file(name + ".log") }
func (n node) hasControlPlane() bool    { return n.number == 1 }
func (n node) config(who string) string { return filepath.Join(n.site, who+".kubeconfig") }

// fill renders one of the files below.
func (n node) fill(text string) []byte {
	var out bytes.Buffer
	values := map[string]any{
		"Dir": n.dir(), "Pods": podsOf(n.number), "AllPods": podAddresses, "DNS": dnsIP, "CA": n.key("ca.crt"), "Name": NodeName(n.number),
		"Cert": n.key("kubelet-" + NodeName(n.number) + ".crt"), "Key": n.key("kubelet-" + NodeName(n.number) + ".key"), "Proxy": n.config("proxy"),
	}
	template.Must(template.New("").Option("missingkey=error").Parse(text)).Execute(&out, values) //nolint:errcheck // constant texts and values
	return out.Bytes()
}

// containerdConfig has the OOM score left as it is: lowering one takes CAP_SYS_RESOURCE, and without it no sandbox starts.
const containerdConfig = `version = 2
root = "{{.Dir}}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{{.Dir}}/cni"
`

const cniConfig = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "mtu": 1500,
    "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "{{.Pods}}"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`

// kubeletConfig goes on with version 1 of cgroups, which kubelet refuses unless told otherwise.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: {{.CA}}}
authorization: {mode: Webhook}
tlsCertFile: {{.Cert}}
tlsPrivateKeyFile: {{.Key}}
clusterDNS: [{{.DNS}}]
clusterDomain: cluster.local
resolvConf: {{.Dir}}/resolv.conf
failSwapOn: false
oomScoreAdj: 0
volumePluginDir: {{.Dir}}/plugins
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 500Mi, imagefs.available: 500Mi}
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: {{.Proxy}}}
clusterCIDR: {{.AllPods}}
hostnameOverride: {{.Name}}
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

// files are what the parts read, by path.
func (n node) files() map[string][]byte {
	return map[string][]byte{
		n.file("containerd.toml"):       n.fill(containerdConfig),
		n.file("cni/10-pods.conflist"):  n.fill(cniConfig),
		n.file("kubelet.yaml"):          n.fill(kubeletConfig),
		n.file("proxy.yaml"):            n.fill(proxyConfig),
		n.file("resolv.conf"):           nil,
		n.file("plugins/.of-this-node"): nil, // kubelet would make its folder of plugins below /usr
	}
}

func (n node) containerd() part {
	return part{"containerd", []string{"--config=" + n.file("containerd.toml")}}
}

// controlPlane are the parts in the order in which they start: the later ones end if the API server does not answer.
func (n node) controlPlane() (first, later []part) {
	etcdCert, clientCert, serverCert := n.key("etcd"), n.key("etcd-client"), n.key("apiserver")
	account := n.key("service-account.key")
	first = []part{
		{"etcd", []string{
			"--name=node", "--data-dir=" + n.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379",
			"--listen-peer-urls=https://127.0.0.1:2380", "--initial-advertise-peer-urls=https://127.0.0.1:2380", "--initial-cluster=node=https://127.0.0.1:2380",
			"--client-cert-auth", "--trusted-ca-file=" + n.key("ca.crt"), "--cert-file=" + etcdCert + ".crt", "--key-file=" + etcdCert + ".key",
			"--peer-client-cert-auth", "--peer-trusted-ca-file=" + n.key("ca.crt"), "--peer-cert-file=" + etcdCert + ".crt", "--peer-key-file=" + etcdCert + ".key",
		}},
		{"kube-apiserver", []string{
			"--bind-address=0.0.0.0", "--advertise-address=" + nodeIP(1), "--secure-port=6443", "--cert-dir=" + n.key(""),
			"--tls-cert-file=" + serverCert + ".crt", "--tls-private-key-file=" + serverCert + ".key", "--client-ca-file=" + n.key("ca.crt"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
			"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + n.key("ca.crt"), "--etcd-certfile=" + clientCert + ".crt", "--etcd-keyfile=" + clientCert + ".key",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local", "--service-account-key-file=" + account, "--service-account-signing-key-file=" + account,
			"--service-cluster-ip-range=" + serviceAddresses, "--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority=" + n.key("ca.crt"),
			"--kubelet-client-certificate=" + n.key("admin.crt"), "--kubelet-client-key=" + n.key("admin.key"), "--profiling=false",
		}},
	}
	later = []part{
		{"kube-controller-manager", []string{
			"--kubeconfig=" + n.config("controller-manager"), "--use-service-account-credentials", "--service-account-private-key-file=" + account,
			"--root-ca-file=" + n.key("ca.crt"), "--leader-elect=false", "--secure-port=0", "--profiling=false", "--node-monitor-grace-period=20s",
		}},
		{"kube-scheduler", []string{"--kubeconfig=" + n.config("scheduler"), "--leader-elect=false", "--secure-port=0", "--profiling=false"}},
		{"cluster-dns", []string{"--kubeconfig=" + filepath.Join(n.site, "kubeconfig"), "--listen=" + nodeIP(1) + ":53"}},
	}
	return first, later
}

// workers are the parts of every node.
func (n node) workers() []part {
	return []part{
		{"kubelet", []string{
			"--config=" + n.file("kubelet.yaml"), "--kubeconfig=" + n.config("kubelet-"+NodeName(n.number)), "--node-ip=" + nodeIP(n.number),
			"--hostname-override=" + NodeName(n.number), "--root-dir=" + n.file("kubelet"), "--cert-dir=" + n.file("kubelet-pki"),
		}},
		{"kube-proxy", []string{"--config=" + n.file("proxy.yaml")}},
	}
}

// policies is what enforces NetworkPolicies, where somebody has built it.
func (n node) policies() part {
	return part{policyProgram, []string{
		"--run-router=false", "--run-firewall", "--run-service-proxy=false", "--run-loadbalancer=false", "--kubeconfig=" + filepath.Join(n.site, "kubeconfig"),
		"--hostname-override=" + NodeName(n.number), "--service-cluster-ip-range=" + serviceAddresses, "--health-port=0", "--metrics-port=0",
	}}
}

// policyProgram runs on each node where it is among the programs.
const policyProgram = "kube-router"

// DNSObjects are the Service that pods ask for names, which a process of node 1 answers.
var DNSObjects = strings.NewReplacer("DNS", dnsIP, "NODE", nodeIP(1)).Replace(`apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: DNS
  ports: [{name: dns, port: 53, protocol: UDP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-node, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}]
endpoints: [{addresses: [NODE], conditions: {ready: true}}]
`)
