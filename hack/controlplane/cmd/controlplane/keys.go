package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strings"
)

// A cluster with nodes has these besides, each as a certificate and a kubeconfig.
const (
	schedulerCert = "scheduler"
	proxyCert     = "proxy"
	kubeletCert   = "kubelet-" // with the node's name behind
)

// nodePort is where the API server of a cluster with nodes listens.
const nodePort = "6443"

// errNode is returned for what names no node.
var errNode = errors.New("a node is given as NAME=ADDRESS")

// node is a machine that runs pods.
type node struct {
	name    string
	address net.IP
}

func parseNode(text string) (node, error) {
	name, address, _ := strings.Cut(text, "=")
	n := node{name: name, address: net.ParseIP(address)}
	if n.name == "" || n.address == nil || strings.ContainsAny(n.name, "/.") {
		return node{}, fmt.Errorf("%q: %w", text, errNode)
	}
	return n, nil
}

// writeNodeKeys writes keys and kubeconfigs of a cluster to dir. The control plane is on the first node; service is the
// address of Service kubernetes.
func writeNodeKeys(dir string, service net.IP, nodes []node) error {
	keys := filepath.Join(dir, keysFolder)
	if err := issueKeys(keys, nodeCertificates(service, nodes)); err != nil {
		return err
	}
	server := "https://" + net.JoinHostPort(nodes[0].address.String(), nodePort)
	configs := map[string]string{
		kubeconfig: adminCert, managerKubeconfig: managerCert, schedulerCert + ".kubeconfig": schedulerCert, proxyCert + ".kubeconfig": proxyCert,
	}
	for _, n := range nodes {
		configs[kubeletCert+n.name+".kubeconfig"] = kubeletCert + n.name
	}
	for file, cert := range configs {
		if err := writeKubeconfig(filepath.Join(dir, file), server, keys, cert); err != nil {
			return err
		}
	}
	return nil
}

// nodeCertificates are those of a control plane, whose server answers at the addresses of pods and nodes as well, and those
// of what runs pods.
func nodeCertificates(service net.IP, nodes []node) map[string]x509.Certificate {
	all := maps.Clone(certificates)
	all[schedulerCert] = x509.Certificate{Subject: pkix.Name{CommonName: "system:kube-scheduler"}}
	all[proxyCert] = x509.Certificate{Subject: pkix.Name{CommonName: "system:kube-proxy"}}
	server := all[serverCert]
	server.IPAddresses = append([]net.IP{service, nodes[0].address}, loopback...)
	all[serverCert] = server
	for _, n := range nodes {
		all[kubeletCert+n.name] = x509.Certificate{
			Subject:  pkix.Name{CommonName: "system:node:" + n.name, Organization: []string{"system:nodes"}},
			DNSNames: []string{n.name}, IPAddresses: append([]net.IP{n.address}, loopback...),
		}
	}
	return all
}
