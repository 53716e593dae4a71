// Package allowlist says which hosts credentials may be sent to.
package allowlist

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// List is a list of hosts that credentials may be sent to. The zero value allows none.
type List struct {
	// Entries with a leading dot match every name below it, any other entry one host or IP address;
	// letter case does not matter. They allow the usual ports, unless they name one, as in
	// host:8443; host:* allows any, and so does this machine without a port.
	Entries []string
	// Flag of the operator that the entries come from. Errors name it.
	Flag string
	// Ports that are usual beside 443.
	Ports []string
}

// MaxHostName is the length of a host's name at most, in characters, see RFC 1035.
const MaxHostName = 253

// dnsName has no trailing dot: such a name resolves alike but compares differently.
var dnsName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

// Error says that no credential may be sent to a host.
type Error struct {
	// Host or endpoint that was refused, without userinfo.
	Host string
	// Problem completes the sentence that the host begins.
	Problem string
	// Flag of the operator that allows hosts.
	Flag string
}

func (l List) refuses(host, problem string) error {
	return &Error{Host: redact.Text(host), Problem: problem, Flag: l.Flag}
}

// Error names the host, what is wrong with it, and the flag that allows hosts.
func (e *Error) Error() string {
	return fmt.Sprintf("host %q %s; see %s", e.Host, e.Problem, e.Flag)
}

// usualPort is that of HTTPS.
const usualPort = "443"

// Check tells whether a token for hostName may be made, and sent to endpoint if that is set. Its
// error is an *Error.
func (l List) Check(hostName, endpoint string) error {
	if err := l.checkName(hostName); err != nil || endpoint == "" {
		return err
	}
	u, err := url.Parse(endpoint)
	if err != nil { // its text repeats the endpoint, which may hold a password
		return l.refuses("", "of the endpoint is not part of a URL")
	}
	return l.checkEndpoint(u)
}

func (l List) checkEndpoint(u *url.URL) error {
	bare := (u.Path == "" || u.Path == "/") && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.Opaque == ""
	if !bare {
		return l.refuses(u.Host, "comes with more than https://host:port")
	}
	return l.CheckURL(u)
}

// CheckURL tells whether a token may be attached to a request for u. Its error is an *Error.
func (l List) CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "https":
		return l.refuses(u.Host, "is not addressed by https")
	case u.User != nil:
		return l.refuses(u.Host, "comes with user information")
	}
	if err := l.checkName(u.Hostname()); err != nil {
		return err
	}
	port, ports := cmp.Or(u.Port(), usualPort), append([]string{usualPort}, l.Ports...)
	if !slices.ContainsFunc(l.Entries, func(e string) bool { return parseEntry(e).allows(u.Hostname(), port, ports) }) {
		return l.refuses(u.Host, "is not allowed at that port: expected "+strings.Join(ports, " or ")+", or an entry that names it")
	}
	return nil
}

func (l List) checkName(host string) error {
	if !IsHostName(host) {
		return l.refuses(host, "is not a plain host name or IP address (a port belongs to the endpoint)")
	}
	if !slices.ContainsFunc(l.Entries, func(e string) bool { return parseEntry(e).matches(host) }) {
		return l.refuses(host, "is not among those that credentials may be sent to")
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

// IsHostName accepts a DNS name without trailing dot, or an IP address without zone.
func IsHostName(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	return len(s) <= MaxHostName && dnsName.MatchString(s)
}
