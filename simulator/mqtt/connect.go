package mqtt

import (
	"crypto/sha1" //nolint:gosec // thumbprints may be SHA-1
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
)

// maxKeepAlive is in seconds: the hub drops a device that is silent for one and a half times as long, 1,767 s.
const maxKeepAlive = 1178

// versions are the API versions that devices may name; the oldest ones know no twins, and those before 2020-09-30 no models.
var versions = regexp.MustCompile(`^20(16|17|18|19|2[0-9])-\d\d-\d\d(-preview)?$`)

var modelIDs = regexp.MustCompile(`^dtmi:[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?(?::[A-Za-z_](?:[A-Za-z0-9_]*[A-Za-z0-9])?)*;[1-9][0-9]{0,8}(\.[0-9]+)?$`)

// userName is {host}/{clientId}/?api-version=…&model-id=…&DeviceClientType=….
type userName struct {
	host, client, model string
}

func parseUserName(s string) (userName, error) {
	parts := strings.SplitN(s, "/", 3)
	if len(parts) < 2 {
		return userName{}, errors.New("the user name is not host/device/?api-version=…")
	}
	u := userName{host: parts[0], client: parts[1]}
	if len(parts) == 2 {
		return u, nil
	}
	query, err := parseBag(strings.TrimPrefix(parts[2], "?"))
	if err != nil {
		return u, fmt.Errorf("the user name's query: %w", err)
	}
	if v := query["api-version"]; v != "" && !versions.MatchString(v) {
		return u, fmt.Errorf("the API version %q is unknown", v)
	}
	u.model = query["model-id"]
	if u.model != "" && !modelIDs.MatchString(u.model) {
		return u, fmt.Errorf("the model id %q is no DTMI", u.model)
	}
	return u, nil
}

// admission is what a CONNECT that is accepted says.
type admission struct {
	userName
	expires time.Time // zero: never
}

// admit checks a CONNECT as the hub does. Whatever is wrong, the device is told no more than that it is not authorized.
func (s *Server) admit(connect packets.ConnectParams, c *conn) (admission, error) {
	u, err := parseUserName(string(connect.Username))
	if err != nil {
		return admission{}, err
	}
	if !slices.ContainsFunc(s.HostNames, func(name string) bool { return strings.EqualFold(name, u.host) }) {
		return admission{}, fmt.Errorf("the user name is for the host %q", u.host)
	}
	if u.client != connect.ClientIdentifier {
		return admission{}, fmt.Errorf("the user name is for %q, the client id is %q", u.client, connect.ClientIdentifier)
	}
	t, err := s.Hub.Get(u.client)
	if err != nil {
		return admission{}, err
	}
	if t.Identity.Disabled {
		return admission{}, fmt.Errorf("the device %q is disabled", u.client)
	}
	expires, err := s.authenticate(t.Identity, u.host, string(connect.Password), c)
	return admission{u, expires}, err
}

// authenticate returns until when the device has proved who it is.
func (s *Server) authenticate(i hub.Identity, host, password string, c *conn) (time.Time, error) {
	switch i.Authentication.Type {
	case "sas":
		return s.checkToken(i, host, password)
	case "selfSigned":
		return time.Time{}, checkThumbprint(i.Authentication, c)
	}
	return time.Time{}, fmt.Errorf("the authentication type %q is not simulated for devices", i.Authentication.Type)
}

func (s *Server) checkToken(i hub.Identity, host, password string) (time.Time, error) {
	resource := host + "/devices/" + i.DeviceID
	token, err := auth.Parse(password)
	if err != nil {
		return time.Time{}, err
	}
	expires := time.Unix(token.Expiry, 0)
	if token.Policy != "" {
		return expires, s.Policies.Authorize(password, resource, auth.DeviceConnect, s.Clock())
	}
	if !token.Covers(resource) {
		return expires, fmt.Errorf("the token is for %q instead of %q", token.Resource, resource)
	}
	primary := token.Verify(i.Authentication.PrimaryKey, s.Clock())
	if primary == nil {
		return expires, nil
	}
	if token.Verify(i.Authentication.SecondaryKey, s.Clock()) == nil {
		return expires, nil
	}
	return expires, primary
}

// checkThumbprint compares the certificate that the device showed, and proved to own in the TLS handshake.
func checkThumbprint(a hub.Authentication, c *conn) error {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok || len(secure.ConnectionState().PeerCertificates) == 0 {
		return errors.New("the device showed no certificate")
	}
	raw := secure.ConnectionState().PeerCertificates[0].Raw
	short, long := sha1.Sum(raw), sha256.Sum256(raw) //nolint:gosec // thumbprints may be SHA-1
	for _, want := range []string{a.PrimaryThumbprint, a.SecondaryThumbprint} {
		if want != "" && (strings.EqualFold(want, hex.EncodeToString(short[:])) || strings.EqualFold(want, hex.EncodeToString(long[:]))) {
			return nil
		}
	}
	return errors.New("the certificate has another thumbprint")
}
