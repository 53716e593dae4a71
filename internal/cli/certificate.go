package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/pnp-operator/pnp-operator/internal/certificate"
	"github.com/pnp-operator/pnp-operator/internal/process"
	"github.com/pnp-operator/pnp-operator/internal/webhooks"
)

const certificateUsage = `Usage: pnp-operator certificate

Makes the certificate of the webhook, renews it, and tells the API server which authority has signed it. It needs the rights of
the ServiceAccount pnp-operator-certificate, and is a process of its own because the operator has no use for them.

`

// Certificate is "pnp-operator certificate". It runs until a signal and returns its exit status.
func Certificate(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("certificate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = io.WriteString(stderr, certificateUsage); flags.PrintDefaults() }
	namespace := flags.String("namespace", process.OwnNamespace(), "The operator's namespace, where the Secret of the certificate is.")
	host := flags.String("host", "", "The host that the API server calls the webhook at, the operator's Service if empty.")
	config.RegisterFlags(flags)
	var logging zap.Options
	logging.BindFlags(flags)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		flags.Usage()
		return 2
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	if err := keepCertificate(*namespace, *host); err != nil {
		_, _ = fmt.Fprintf(stderr, "certificate: %v\n", err)
		return 1
	}
	return 0
}

func keepCertificate(namespace, host string) error {
	if host == "" {
		host = fmt.Sprintf("%s.%s.svc", webhooks.Service, namespace)
	}
	cluster, err := config.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	uncached, err := client.New(cluster, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	keeper := &certificate.Keeper{
		Client: uncached, Host: host, Configuration: webhooks.Configuration, Log: ctrl.Log.WithName("certificate"),
		Secret: types.NamespacedName{Namespace: namespace, Name: webhooks.CertificateSecret},
	}
	keeper.Run(ctrl.SetupSignalHandler())
	return nil
}
