package iothub

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// allowedHostsFlag is the operator's flag behind Options.AllowedHostSuffixes.
const allowedHostsFlag = "--allowed-hub-suffixes"

const maxHostName = 253 // characters, RFC 1035

// dnsName has no trailing dot: such a name resolves alike but compares differently.
var dnsName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

// HostNotAllowedError says that no token may be sent to a host. It is Terminal.
type HostNotAllowedError struct {
	// Host or endpoint that was refused, without userinfo.
	Host string
	// Problem completes the sentence that the host begins.
	Problem string
	// Flag of the operator that allows hosts.
	Flag string
}

func notAllowed(host, problem string) error {
	return &HostNotAllowedError{Host: clean(host), Problem: problem, Flag: allowedHostsFlag}
}

func (e *HostNotAllowedError) Error() string {
	return fmt.Sprintf("host %q %s; see %s", e.Host, e.Problem, e.Flag)
}

// CheckHost tells whether a token for hostName may be made, and sent to endpoint if that is set. An entry of allowed with a
// leading dot matches every name below it, any other entry one host or IP address; letter case does not matter, and ports
// are not compared. The error is a *HostNotAllowedError.
func CheckHost(hostName, endpoint string, allowed []string) error {
	if err := checkName(hostName, allowed); err != nil || endpoint == "" {
		return err
	}
	u, err := url.Parse(endpoint)
	if err != nil { // its text repeats the endpoint, which may hold a password
		return notAllowed("", "of the endpoint is not part of a URL")
	}
	return checkEndpoint(u, allowed)
}

func checkEndpoint(u *url.URL, allowed []string) error {
	bare := (u.Path == "" || u.Path == "/") && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.Opaque == ""
	if !bare {
		return notAllowed(u.Host, "comes with more than https://host:port")
	}
	return checkURL(u, allowed)
}

// checkURL tells whether a token may be attached to a request for u.
func checkURL(u *url.URL, allowed []string) error {
	switch {
	case u.Scheme != "https":
		return notAllowed(u.Host, "is not addressed by https")
	case u.User != nil:
		return notAllowed(u.Host, "comes with user information")
	}
	return checkName(u.Hostname(), allowed)
}

func checkName(host string, allowed []string) error {
	if !isHostName(host) {
		return notAllowed(host, "is not a plain host name or IP address (a port belongs to the endpoint)")
	}
	for _, entry := range allowed {
		if matches(strings.ToLower(host), strings.ToLower(strings.TrimSpace(entry))) {
			return nil
		}
	}
	return notAllowed(host, "is not among those that credentials may be sent to")
}

// matches compares in lower case. A suffix never matches an IP address: .0.0.1 is not a domain.
func matches(host, entry string) bool {
	if !strings.HasPrefix(entry, ".") {
		return host == entry
	}
	_, err := netip.ParseAddr(host)
	return err != nil && len(host) > len(entry) && strings.HasSuffix(host, entry)
}

// isHostName accepts a DNS name without trailing dot, or an IP address without zone.
func isHostName(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	return len(s) <= maxHostName && dnsName.MatchString(s)
}
