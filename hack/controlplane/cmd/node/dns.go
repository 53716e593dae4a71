package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pnp-operator/pnp-operator/hack/controlplane/dns"
)

// runDNS answers for the Services of a cluster by UDP, and for nothing else: no cluster for tests leads out.
func runDNS() int {
	flags := flag.NewFlagSet("cluster-dns", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "who may list Services")
	listen := flags.String("listen", ":53", "the UDP address to answer at")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serveDNS(ctx, *kubeconfig, *listen); err != nil {
		fmt.Fprintf(os.Stderr, "cluster-dns: %v\n", err)
		return 1
	}
	return 0
}

// serveDNS answers once it knows all Services: until then a question is lost, and asked again.
func serveDNS(ctx context.Context, kubeconfig, listen string) error {
	find, err := watchServices(ctx, kubeconfig)
	if err != nil {
		return err
	}
	socket, err := net.ListenPacket("udp", listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = socket.Close() })
	buffer := make([]byte, 1500)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a question: %w", err)
		}
		if answer, err := dns.AnswerTo(buffer[:n], find); err == nil {
			_, _ = socket.WriteTo(answer, from)
		}
	}
}

// watchServices keeps the Services of the cluster at hand.
func watchServices(ctx context.Context, kubeconfig string) (dns.ClusterIP, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading --kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services().Lister()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return func(namespace, name string) (net.IP, bool) {
		service, err := services.Services(namespace).Get(name)
		if err != nil || service.Spec.ClusterIP == corev1.ClusterIPNone {
			return nil, false
		}
		return net.ParseIP(service.Spec.ClusterIP).To4(), true
	}, nil
}
