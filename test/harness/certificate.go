package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// CertificateFolder is where the operator finds the webhook's certificate, in the folder of a
// testbed.
const CertificateFolder = "webhook-certificate"

const (
	certificateAccount    = "pnp-operator-certificate"
	certificateSecret     = "pnp-operator-webhook-cert"
	certificateKubeconfig = "certificate.kubeconfig"
)

// keeper is the process that makes the webhook's certificate.
func (d *Testbed) keeper() Process {
	p := d.Manager()
	p.Replica = "-certificate"
	return p
}

// Certify runs what makes the webhook's certificate, as its ServiceAccount. It returns when the
// operator can mount one.
func (d *Testbed) Certify(ctx context.Context, args ...string) error {
	token, err := d.Kubectl.Output(ctx, "", "create", "token", certificateAccount, "-n", OperatorNamespace, "--duration=168h")
	if err != nil {
		return err
	}
	if err := d.writeKubeconfig(ctx, certificateKubeconfig, strings.TrimSpace(token)); err != nil {
		return err
	}
	args = append(args, "--kubeconfig="+d.File(certificateKubeconfig), "--namespace="+OperatorNamespace, "--host=localhost")
	ended, err := d.keeper().begin(ctx, time.Minute, func() error { return d.mountCertificate(ctx) }, d.Path("bin/manager"), args...)
	if err != nil {
		return err
	}
	d.supervise(d.keeper(), ended)
	d.Out.Passf("the webhook has a certificate, made by ServiceAccount %s/%s", OperatorNamespace, certificateAccount)
	return nil
}

// mountCertificate has the certificate in a folder, as the kubelet has it in the operator's pod.
func (d *Testbed) mountCertificate(ctx context.Context) error {
	var secret corev1.Secret
	if err := d.Kubectl.Get(ctx, &secret, "secret", certificateSecret, "-n", OperatorNamespace); err != nil {
		return err
	}
	dir := d.File(CertificateFolder)
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
