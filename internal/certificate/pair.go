// Package certificate makes and renews the certificate that the webhook serves with, and tells the API server which
// authority has signed it. It has a process and a ServiceAccount of its own: whoever may change the webhook's
// configuration can have the API server show them every Secret that is written.
package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
)

const (
	lifetime    = 90 * 24 * time.Hour
	renewBefore = 30 * 24 * time.Hour
	// handOver is for how long from its first moment, which is an hour before it was made, a certificate shares the API
	// server's trust with those before it: a Secret takes minutes to get into the volumes of pods.
	handOver = 2 * time.Hour
	// maxTrusted bounds the authorities that are trusted at a time.
	maxTrusted = 4
)

// pair is a certificate, with the authority that signed it behind it, and its key, in PEM.
type pair struct{ chain, key []byte }

// newPair makes a certificate for a host. Nobody keeps the authority's key, so it signs nothing else.
func newPair(host string) (pair, error) {
	chain, key, err := cert.GenerateSelfSignedCertKeyWithOptions(cert.SelfSignedCertKeyOptions{Host: host, MaxAge: lifetime})
	return pair{chain, key}, err
}

// check returns certificate and authority, or says why a new pair is needed.
func (p pair) check(host string, now time.Time) (leaf, authority *x509.Certificate, why error) {
	both, err := tls.X509KeyPair(p.chain, p.key)
	if err != nil {
		return nil, nil, errors.New("there is no certificate with its key")
	}
	chain := certificates(p.chain)
	if len(chain) != 2 {
		return nil, nil, fmt.Errorf("the Secret has %d certificates, want one and its authority", len(chain))
	}
	leaf, authority = both.Leaf, chain[1]
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now}); err != nil {
		return nil, nil, err
	}
	if ends := leaf.NotAfter; now.After(ends.Add(-renewBefore)) {
		return nil, nil, fmt.Errorf("the certificate ends at %s", ends.Format(time.RFC3339))
	}
	return leaf, authority, nil
}

// certificates are those in PEM that can be parsed, whatever else is there.
func certificates(text []byte) []*x509.Certificate {
	var found []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == cert.CertificateBlockType {
			found = append(found, c)
		}
	}
	return found
}

// bundle is what the API server is to trust, in PEM: each once, without what has ended, and no more than a few, of which
// the first count.
func bundle(now time.Time, trusted ...*x509.Certificate) []byte {
	var kept []*x509.Certificate
	for _, c := range trusted {
		if len(kept) < maxTrusted && now.Before(c.NotAfter) && !slices.ContainsFunc(kept, c.Equal) {
			kept = append(kept, c)
		}
	}
	var text bytes.Buffer
	for _, c := range kept {
		_ = pem.Encode(&text, &pem.Block{Type: cert.CertificateBlockType, Bytes: c.Raw}) // a buffer takes everything
	}
	return text.Bytes()
}
