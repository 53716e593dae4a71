package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// validity is generous on both sides: clocks differ.
const validity = 365 * 24 * time.Hour

// issue makes a CA and a server certificate for this machine, the given host names and the addresses of listeners. The CA's key is
// thrown away.
func issue(hostNames []string, listeners ...net.Listener) (server tls.Certificate, caPEM []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return server, nil, err
	}
	ca := template(1, "pnp-operator IoT Hub simulator CA")
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return server, nil, err
	}
	server, err = issueServer(hostNames, addressesOf(listeners), ca, caKey)
	return server, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), err
}

func issueServer(hostNames []string, addresses []net.IP, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := template(2, "pnp-operator IoT Hub simulator")
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	t.DNSNames = []string{"localhost"}
	for _, name := range hostNames {
		t.DNSNames = append(t.DNSNames, withoutPort(name))
	}
	t.IPAddresses = append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, addresses...)
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// addressesOf are those of listeners that clients cannot call localhost.
func addressesOf(listeners []net.Listener) []net.IP {
	var all []net.IP
	for _, l := range listeners {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && isOwn(tcp.IP) {
			all = append(all, tcp.IP)
		}
	}
	return all
}

func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-validity),
		NotAfter:     time.Now().Add(validity),
	}
}
