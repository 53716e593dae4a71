package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// clusterDomain ends the names of Services.
const clusterDomain = ".svc.cluster.local."

// clusterIP finds the address of a Service, nil if there is no such Service or it has none.
type clusterIP func(namespace, name string) (address net.IP, exists bool)

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
		if answer, err := answerTo(buffer[:n], find); err == nil {
			_, _ = socket.WriteTo(answer, from)
		}
	}
}

// watchServices keeps the Services of the cluster at hand.
func watchServices(ctx context.Context, kubeconfig string) (clusterIP, error) {
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

// answerTo answers a question: a Service that exists has an A record and no other ones, and no other name exists.
func answerTo(question []byte, find clusterIP) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(question)
	if err != nil {
		return nil, err
	}
	asked, err := parser.Question()
	if err != nil {
		return nil, err
	}
	answer := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RCode: dnsmessage.RCodeNameError,
		},
		Questions: []dnsmessage.Question{asked},
	}
	namespace, name, ok := serviceOf(asked.Name.String())
	if !ok {
		return answer.Pack()
	}
	address, exists := find(namespace, name)
	if exists {
		answer.RCode = dnsmessage.RCodeSuccess
	}
	if address != nil && asked.Type == dnsmessage.TypeA {
		answer.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: asked.Name, Class: dnsmessage.ClassINET, TTL: 5},
			Body:   &dnsmessage.AResource{A: [4]byte(address)},
		}}
	}
	return answer.Pack()
}

// serviceOf takes NAME.NAMESPACE.svc.cluster.local. apart.
func serviceOf(host string) (namespace, name string, ok bool) {
	inside, ok := strings.CutSuffix(strings.ToLower(host), clusterDomain)
	labels := strings.Split(inside, ".")
	if !ok || len(labels) != 2 {
		return "", "", false
	}
	return labels[1], labels[0], true
}
