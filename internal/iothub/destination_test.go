package iothub

import (
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/allowlist"
)

const (
	certificateA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	certificateB = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"
)

func TestOnlyWhatIsDialledAndCheckedAlikeIsOneHub(t *testing.T) {
	const host = "factory.azure-devices.net"
	type at struct{ host, endpoint, ca string }
	for name, c := range map[string]struct {
		a, b at
		same bool
	}{
		"another host":                       {at{host: host}, at{host: "plant.azure-devices.net"}, false},
		"the host spelled in capitals":       {at{host: host}, at{host: "Factory.azure-devices.net"}, true},
		"an endpoint of one's own":           {at{host: host}, at{host, "https://mallory.azure-devices.net", ""}, false},
		"the host itself as its endpoint":    {at{host: host}, at{host, "https://Factory.azure-devices.net:443/", ""}, true},
		"another port of the host":           {at{host: host}, at{host, "https://factory.azure-devices.net:8443", ""}, false},
		"an endpoint with its default port":  {at{host, "https://private", ""}, at{host, "https://private:443", ""}, true},
		"another endpoint":                   {at{host, "https://private:1", ""}, at{host, "https://private:2", ""}, false},
		"certificates of one's own":          {at{host: host}, at{host, "", certificateA}, false},
		"other certificates":                 {at{host, "", certificateB}, at{host, "", certificateA}, false},
		"one certificate more":               {at{host, "", certificateB}, at{host, "", certificateB + certificateA}, false},
		"the same certificates, with blanks": {at{host, "", certificateA + certificateB}, at{host, "", "# both\n\n" + certificateB + "\n" + certificateA}, true},
		"long endpoints that differ":         {at{host, "https://" + strings.Repeat("a", 200), ""}, at{host, "https://" + strings.Repeat("a", 201), ""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := Destination(c.a.host, c.a.endpoint, []byte(c.a.ca)), Destination(c.b.host, c.b.endpoint, []byte(c.b.ca))
			if (a == b) != c.same {
				t.Errorf("%q and %q: one hub %t, expected %t", a, b, a == b, c.same)
			}
		})
	}
}

func TestADestinationNamesItsHost(t *testing.T) {
	for name, c := range map[string]struct{ endpoint, ca, via string }{
		"dialled itself":             {"", "", ""},
		"through an endpoint":        {"https://localhost:19443", "", "localhost:19443"},
		"through an IPv6 address":    {"https://[::1]:19443", "", "[::1]:19443"},
		"with certificates":          {"", certificateA, "#" + digestOfPEM([]byte(certificateA))},
		"with what is no PEM at all": {"", "junk", "#" + digest([]byte("junk"))},
	} {
		t.Run(name, func(t *testing.T) {
			got := Destination("factory.azure-devices.net", c.endpoint, []byte(c.ca))
			if HostOf(got) != "factory.azure-devices.net" || ViaOf(got) != c.via {
				t.Errorf("%q is of host %q via %q, expected via %q", got, HostOf(got), ViaOf(got), c.via)
			}
		})
	}
	long := Destination(strings.Repeat("h", allowlist.MaxHostName), "https://"+strings.Repeat("e", 400), []byte(certificateA))
	if len(long) > 420 {
		t.Errorf("%d bytes", len(long))
	}
}
