package iothub

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
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

// usualPort is where hubs answer.
const usualPort = "443"

// CheckHost tells whether a token for hostName may be made, and sent to endpoint if that is set. An entry of allowed with a
// leading dot matches every name below it, any other entry one host or IP address; letter case does not matter. It allows
// port 443 and the other usual ports, unless it names one, as in host:8443; host:* allows any, and so does this machine
// without a port. The error is a *HostNotAllowedError.
func CheckHost(hostName, endpoint string, allowed []string, usual ...string) error {
	if err := checkName(hostName, allowed); err != nil || endpoint == "" {
		return err
	}
	u, err := url.Parse(endpoint)
	if err != nil { // its text repeats the endpoint, which may hold a password
		return notAllowed("", "of the endpoint is not part of a URL")
	}
	return checkEndpoint(u, allowed, usual)
}

func checkEndpoint(u *url.URL, allowed, usual []string) error {
	bare := (u.Path == "" || u.Path == "/") && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.Opaque == ""
	if !bare {
		return notAllowed(u.Host, "comes with more than https://host:port")
	}
	return checkURL(u, allowed, usual...)
}

// checkURL tells whether a token may be attached to a request for u.
func checkURL(u *url.URL, allowed []string, usual ...string) error {
	switch {
	case u.Scheme != "https":
		return notAllowed(u.Host, "is not addressed by https")
	case u.User != nil:
		return notAllowed(u.Host, "comes with user information")
	}
	if err := checkName(u.Hostname(), allowed); err != nil {
		return err
	}
	port, ports := cmp.Or(u.Port(), usualPort), append([]string{usualPort}, usual...)
	if !slices.ContainsFunc(allowed, func(e string) bool { return parseEntry(e).allows(u.Hostname(), port, ports) }) {
		return notAllowed(u.Host, "is not allowed at that port: expected "+strings.Join(ports, " or ")+", or an entry that names it")
	}
	return nil
}

func checkName(host string, allowed []string) error {
	if !isHostName(host) {
		return notAllowed(host, "is not a plain host name or IP address (a port belongs to the endpoint)")
	}
	if !slices.ContainsFunc(allowed, func(e string) bool { return parseEntry(e).matches(host) }) {
		return notAllowed(host, "is not among those that credentials may be sent to")
	}
	return nil
}

// entry of what is allowed, in lower case.
type entry struct{ host, port string }

func parseEntry(text string) entry {
	text = strings.ToLower(strings.TrimSpace(text))
	if host, port, err := net.SplitHostPort(text); err == nil {
		return entry{host, port}
	}
	return entry{host: text}
}

// matches compares names. A suffix never matches an IP address: .0.0.1 is not a domain.
func (e entry) matches(host string) bool {
	host = strings.ToLower(host)
	if !strings.HasPrefix(e.host, ".") {
		return host == e.host
	}
	_, err := netip.ParseAddr(host)
	return err != nil && len(host) > len(e.host) && strings.HasSuffix(host, e.host)
}

// allows compares names and ports.
func (e entry) allows(host, port string, usual []string) bool {
	switch {
	case !e.matches(host):
		return false
	case e.port == "":
		return slices.Contains(usual, port) || isLoopback(host)
	}
	return e.port == "*" || e.port == port
}

// isLoopback reports whether a host is this machine: simulators have any port.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// isHostName accepts a DNS name without trailing dot, or an IP address without zone.
func isHostName(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	return len(s) <= maxHostName && dnsName.MatchString(s)
}
