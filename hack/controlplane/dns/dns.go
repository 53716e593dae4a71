// Package dns answers for the Services of a cluster.
package dns

import (
	"net"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// clusterDomain ends the names of Services.
const clusterDomain = ".svc.cluster.local."

// ClusterIP finds the address of a Service; it is nil if there is none.
type ClusterIP func(namespace, name string) (address net.IP, exists bool)

// AnswerTo answers a question: a Service that exists has an A record and no other ones, and no other name exists.
func AnswerTo(question []byte, find ClusterIP) ([]byte, error) {
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
