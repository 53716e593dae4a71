package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestKeysOfNodes(t *testing.T) {
	dir := t.TempDir()
	args := []string{"keys", "-service", "10.96.0.1", dir, "node-1=10.250.0.2", "node-2=10.250.0.3"}
	if err := execute(t.Context(), args, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	for name, hosts := range map[string][]string{
		"apiserver":      {"10.96.0.1", "10.250.0.2", "127.0.0.1", "kubernetes.default.svc"},
		"kubelet-node-1": {"node-1", "10.250.0.2"},
		"kubelet-node-2": {"node-2", "10.250.0.3"},
	} {
		certificate := readCertificate(t, filepath.Join(dir, "pki", name+".crt"))
		for _, host := range hosts {
			if err := certificate.VerifyHostname(host); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	second := readCertificate(t, filepath.Join(dir, "pki", "kubelet-node-2.crt")).Subject
	if second.CommonName != "system:node:node-2" || second.Organization[0] != "system:nodes" {
		t.Errorf("node-2 is %s", second)
	}
	for _, name := range []string{"kubeconfig", "controller-manager.kubeconfig", "scheduler.kubeconfig", "proxy.kubeconfig", "kubelet-node-1.kubeconfig", "kubelet-node-2.kubeconfig"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Contains(text, []byte("server: https://10.250.0.2:6443\n")) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

func TestKeysWantNodes(t *testing.T) {
	for name, args := range map[string][]string{
		"no node":                      {"keys", "-service", "10.96.0.1", "dir"},
		"no address of the Service":    {"keys", "dir", "node-1=10.250.0.2"},
		"a node without an address":    {"keys", "-service", "10.96.0.1", "dir", "node-1"},
		"an address that is none":      {"keys", "-service", "10.96.0.1", "dir", "node-1=10.250"},
		"a node that leaves its place": {"keys", "-service", "10.96.0.1", "dir", "../x=10.250.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			err := execute(t.Context(), args, io.Discard, io.Discard)
			if !errors.Is(err, errUsage) && !errors.Is(err, errNode) {
				t.Error(err)
			}
			if left, _ := os.ReadDir("."); len(left) > 0 {
				t.Error("wrote ", left)
			}
		})
	}
}

func readCertificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
