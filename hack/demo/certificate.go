package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	certificateAccount    = "pnp-operator-certificate"
	certificateSecret     = "pnp-operator-webhook-cert"
	certificateKubeconfig = "certificate.kubeconfig"
	certificateFolder     = "webhook-certificate"
)

// keeper is the process that makes the webhook's certificate.
func (d *demo) keeper() process {
	p := d.manager()
	p.replica = "-certificate"
	return p
}

// certify runs what makes the webhook's certificate, as its ServiceAccount. It returns when the operator can mount one.
func (d *demo) certify(ctx context.Context, args ...string) error {
	token, err := d.kubectl.output(ctx, "", "create", "token", certificateAccount, "-n", operatorNamespace, "--duration=168h")
	if err != nil {
		return err
	}
	if err := d.writeKubeconfig(ctx, certificateKubeconfig, strings.TrimSpace(token)); err != nil {
		return err
	}
	args = append(args, "--kubeconfig="+d.file(certificateKubeconfig), "--namespace="+operatorNamespace, "--host=localhost")
	ended, err := d.keeper().begin(ctx, time.Minute, func() error { return d.mountCertificate(ctx) }, d.path("bin/manager"), args...)
	if err != nil {
		return err
	}
	d.supervise(d.keeper(), ended)
	d.out.passf("the webhook has a certificate, made by ServiceAccount %s/%s", operatorNamespace, certificateAccount)
	return nil
}

// mountCertificate has the certificate in a folder, as the kubelet has it in the operator's pod.
func (d *demo) mountCertificate(ctx context.Context) error {
	var secret corev1.Secret
	if err := d.kubectl.get(ctx, &secret, "secret", certificateSecret, "-n", operatorNamespace); err != nil {
		return err
	}
	dir := d.file(certificateFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if err := os.WriteFile(filepath.Join(dir, key), secret.Data[key], 0o600); err != nil {
			return fmt.Errorf("writing the webhook's certificate: %w", err)
		}
	}
	return nil
}
