package iothub

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"net"
	"net/url"
	"slices"
	"strings"
)

// maxVia is how long an endpoint may be to be spelled out in a destination, in bytes.
const maxVia = 128

// Destination names what accepts a credential: the hub's host name, and beyond an @ the endpoint
// that is dialled in its place and, after a #, a digest of the certificates that are trusted. A host
// name alone proves nothing of who answers: both are chosen by whoever writes the IoTHub. So only
// equal destinations are one hub. It has at most 420 bytes, and no @ where the name itself is dialled
// and checked against the system's certificates.
func Destination(hostName, endpoint string, caBundle []byte) string {
	name := strings.ToLower(hostName)
	via := dialled(name, endpoint)
	if len(via) > maxVia {
		via = digest([]byte(via))
	}
	if len(caBundle) > 0 {
		via += "#" + digestOfPEM(caBundle)
	}
	if via == "" {
		return name
	}
	return name + "@" + via
}

// HostOf is the hub's host name in a destination.
func HostOf(destination string) string {
	name, _, _ := strings.Cut(destination, "@")
	return name
}

// ViaOf is what a destination says beside the host name, empty if that is all.
func ViaOf(destination string) string {
	_, via, _ := strings.Cut(destination, "@")
	return via
}

// dialled is the address of an endpoint as far as it differs from the host's own.
func dialled(hostName, endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil { // no session is built with it
		return endpoint
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "443" {
		port = ""
	}
	switch {
	case host == "" || host == hostName && port == "":
		return ""
	case port == "":
		return host
	}
	return net.JoinHostPort(host, port)
}

// digestOfPEM is one of what x509.CertPool takes for certificates: it does not depend on comments,
// blanks or their order.
func digestOfPEM(bundle []byte) string {
	var certificates []string
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" && len(block.Headers) == 0 {
			certificates = append(certificates, string(block.Bytes))
		}
	}
	if len(certificates) == 0 {
		return digest(bundle)
	}
	slices.Sort(certificates)
	sum := sha256.New()
	for _, one := range slices.Compact(certificates) {
		of := sha256.Sum256([]byte(one))
		sum.Write(of[:])
	}
	return hex.EncodeToString(sum.Sum(nil)[:digestBytes])
}

// digestBytes of SHA-256 are kept: nobody finds a second bundle with the same ones.
const digestBytes = 16

func digest(of []byte) string {
	sum := sha256.Sum256(of)
	return hex.EncodeToString(sum[:digestBytes])
}
