package main

import (
	"path/filepath"
	"strconv"
	"strings"
)

// The programs of a control plane.
const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
)

// startOrder is the order in which the programs start. They stop in the reverse order.
var startOrder = []string{etcd, apiServer, controllerManager}

// controllers are the ones that an operator's tests need: namespaces that finish their deletion, garbage collection, service
// accounts, their tokens, and cluster roles put together from others. Nothing runs pods.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"garbage-collector-controller",
	"namespace-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
}

// endpoints are where the programs listen.
type endpoints struct {
	etcd string // the address for clients
	peer string // the address for etcd's own peers, of which it has none
	api  string // the API server's address
}

// freeEndpoints returns loopback addresses whose ports are free, and stay so while a part is down.
func freeEndpoints() (endpoints, error) {
	addresses, err := Addresses(3)
	if err != nil {
		return endpoints{}, err
	}
	for i, address := range addresses {
		addresses[i] = "https://" + address
	}
	return endpoints{etcd: addresses[0], peer: addresses[1], api: addresses[2]}, nil
}

// etcdArgs are etcd's flags: limits for a small cluster, and no wait for the disk, since no data outlives the run.
func etcdArgs(dir string, at endpoints) []string {
	key := keyIn(dir)
	return []string{
		"--name=controlplane",
		"--data-dir=" + filepath.Join(dir, "etcd"),
		"--listen-client-urls=" + at.etcd,
		"--advertise-client-urls=" + at.etcd,
		"--listen-peer-urls=" + at.peer,
		"--initial-advertise-peer-urls=" + at.peer,
		"--initial-cluster=controlplane=" + at.peer,
		"--client-cert-auth",
		"--trusted-ca-file=" + key(caFile),
		"--cert-file=" + key(etcdCert+".crt"),
		"--key-file=" + key(etcdCert+".key"),
		"--peer-client-cert-auth",
		"--peer-trusted-ca-file=" + key(caFile),
		"--peer-cert-file=" + key(etcdCert+".crt"),
		"--peer-key-file=" + key(etcdCert+".key"),
		"--unsafe-no-fsync",
		"--snapshot-count=1000",
		"--quota-backend-bytes=" + strconv.Itoa(4<<30), // what 10,000 devices write between two compactions of the benchmark
		"--log-level=warn",
	}
}

// apiServerArgs are the API server's flags. The admission plug-ins are the default ones.
func apiServerArgs(dir string, at endpoints) []string {
	key := keyIn(dir)
	_, port, _ := strings.Cut(strings.TrimPrefix(at.api, "https://"), ":")
	return []string{
		"--bind-address=127.0.0.1",
		"--secure-port=" + port,
		"--cert-dir=" + key(""),
		"--tls-cert-file=" + key(serverCert+".crt"),
		"--tls-private-key-file=" + key(serverCert+".key"),
		"--client-ca-file=" + key(caFile),
		"--authorization-mode=RBAC",
		"--etcd-servers=" + at.etcd,
		"--etcd-cafile=" + key(caFile),
		"--etcd-certfile=" + key(etcdClientCert+".crt"),
		"--etcd-keyfile=" + key(etcdClientCert+".key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + key(serviceAccountFile),
		"--service-account-signing-key-file=" + key(serviceAccountFile),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--endpoint-reconciler-type=none", // a loopback address may not be an endpoint of Service kubernetes
		"--profiling=false",
	}
}

// controllerManagerArgs are the controller manager's flags. Each controller acts as its own service account, as in a real
// cluster, so that it has its rights. It serves nothing.
func controllerManagerArgs(dir string) []string {
	key := keyIn(dir)
	return []string{
		"--kubeconfig=" + filepath.Join(dir, managerKubeconfig),
		"--controllers=" + strings.Join(controllers, ","),
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + key(serviceAccountFile),
		"--root-ca-file=" + key(caFile),
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--profiling=false",
	}
}

// keyIn returns a function that gives the path of a file in dir's folder of keys.
func keyIn(dir string) func(string) string {
	return func(file string) string { return filepath.Join(dir, keysFolder, file) }
}
