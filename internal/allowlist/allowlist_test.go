package allowlist

import (
	"errors"
	"strings"
	"testing"
)

const testHost = "factory.azure-devices.net"

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		host, endpoint string
		allowed        bool
	}{
		"a hub":                                    {host: "factory.azure-devices.net", allowed: true},
		"a hub in upper case":                      {host: "FACTORY.Azure-Devices.NET", allowed: true},
		"a private link name":                      {host: "factory.privatelink.azure-devices.net", allowed: true},
		"an exact entry":                           {host: "localhost", allowed: true},
		"an exact IP address":                      {host: "127.0.0.1", allowed: true},
		"an exact IPv6 address":                    {host: "::1", allowed: true},
		"below an exact entry":                     {host: "evil.localhost"},
		"the suffix alone":                         {host: "azure-devices.net"},
		"the suffix with its dot":                  {host: ".azure-devices.net"},
		"the suffix inside":                        {host: "evil.azure-devices.net.attacker.example"},
		"the suffix without a label boundary":      {host: "evilazure-devices.net"},
		"another IP address":                       {host: "127.0.0.2"},
		"an IP address that ends in a suffix":      {host: "10.0.0.1"},
		"an IPv6 address with zone":                {host: "::1%eth0"},
		"a mapped IPv6 address":                    {host: "::ffff:127.0.0.1"},
		"an IP address in decimal":                 {host: "2130706433"},
		"the address of a cloud's metadata":        {host: "169.254.169.254"},
		"the same, mapped into IPv6":               {host: "::ffff:169.254.169.254"},
		"the same as one number":                   {host: "0xa9fea9fe"},
		"the API server":                           {host: "kubernetes.default.svc"},
		"a trailing dot":                           {host: "factory.azure-devices.net."},
		"a port":                                   {host: "factory.azure-devices.net:443"},
		"an empty name":                            {host: ""},
		"an empty label":                           {host: "a..azure-devices.net"},
		"user information":                         {host: "attacker.example@factory.azure-devices.net"},
		"a path":                                   {host: "attacker.example/factory.azure-devices.net"},
		"a fragment":                               {host: "attacker.example#.azure-devices.net"},
		"a backslash":                              {host: `attacker.example\.azure-devices.net`},
		"a line break":                             {host: "attacker.example\n.azure-devices.net"},
		"a NUL":                                    {host: "attacker.example\x00.azure-devices.net"},
		"a scheme":                                 {host: "https://factory.azure-devices.net"},
		"a name beyond ASCII":                      {host: "fäctory.azure-devices.net"},
		"a full-width dot":                         {host: "evil.azure-devices。net"},
		"a Kelvin sign, which folds to k":          {host: "\u212A.azure-devices.net"},
		"an endpoint":                              {host: testHost, endpoint: "https://127.0.0.1:8443", allowed: true},
		"an endpoint with slash":                   {host: testHost, endpoint: "https://127.0.0.1:8443/", allowed: true},
		"an IPv6 endpoint":                         {host: testHost, endpoint: "https://[::1]:8443", allowed: true},
		"an endpoint in upper case":                {host: testHost, endpoint: "HTTPS://Factory.PrivateLink.Azure-Devices.Net", allowed: true},
		"an endpoint for a host that is not":       {host: "attacker.example", endpoint: "https://127.0.0.1:8443"},
		"a foreign endpoint":                       {host: testHost, endpoint: "https://attacker.example"},
		"a foreign endpoint, hub as user":          {host: testHost, endpoint: "https://factory.azure-devices.net@attacker.example"},
		"a foreign endpoint, hub as user and port": {host: testHost, endpoint: "https://factory.azure-devices.net:443@attacker.example"},
		"an allowed endpoint with user":            {host: testHost, endpoint: "https://user:hunter2@127.0.0.1:8443"},
		"an endpoint without TLS":                  {host: testHost, endpoint: "http://127.0.0.1:8443"},
		"an endpoint without scheme":               {host: testHost, endpoint: "127.0.0.1:8443"},
		"an endpoint by scheme only":               {host: testHost, endpoint: "https:factory.azure-devices.net"},
		"an endpoint with path":                    {host: testHost, endpoint: "https://127.0.0.1:8443/x"},
		"an endpoint with query":                   {host: testHost, endpoint: "https://127.0.0.1:8443?x=y"},
		"an endpoint with empty query":             {host: testHost, endpoint: "https://127.0.0.1:8443?"},
		"an endpoint with fragment":                {host: testHost, endpoint: "https://127.0.0.1:8443#x"},
		"an endpoint with escaped host":            {host: testHost, endpoint: "https://attacker.example%2f.azure-devices.net"},
		"an endpoint with escaped dots":            {host: testHost, endpoint: "https://kubernetes%2edefault%2esvc"},
		"an endpoint within the cluster":           {host: testHost, endpoint: "https://kubernetes.default.svc"},
		"an endpoint of a cloud's metadata":        {host: testHost, endpoint: "https://169.254.169.254"},
		"the same, mapped into IPv6, in brackets":  {host: testHost, endpoint: "https://[::ffff:169.254.169.254]"},
		"an endpoint with backslash":               {host: testHost, endpoint: `https://attacker.example\@127.0.0.1`},
		"an endpoint with trailing dot":            {host: testHost, endpoint: "https://factory.azure-devices.net."},
		"the usual port":                           {host: testHost, endpoint: "https://factory.azure-devices.net:443", allowed: true},
		"another port below a suffix":              {host: testHost, endpoint: "https://factory.azure-devices.net:81"},
		"a port that the suffix names":             {host: testHost, endpoint: "https://a.proxy.example:8443", allowed: true},
		"a port that the suffix does not name":     {host: testHost, endpoint: "https://a.proxy.example:8444"},
		"the usual port where another is named":    {host: testHost, endpoint: "https://a.proxy.example"},
		"any port of a host":                       {host: testHost, endpoint: "https://any.example:1", allowed: true},
		"another port of a host":                   {host: testHost, endpoint: "https://one.example:81"},
		"the usual port of a host":                 {host: testHost, endpoint: "https://one.example", allowed: true},
		"a port of an IPv6 address":                {host: testHost, endpoint: "https://[2001:db8::1]:8443", allowed: true},
		"another port of an IPv6 address":          {host: testHost, endpoint: "https://[2001:db8::1]:8444"},
		"a host whose entry names a port":          {host: "one.proxy.example", allowed: true},
		"an endpoint that is no URL":               {host: testHost, endpoint: "https://127.0.0.1:hunter2"},
	}
	allowed := []string{
		".azure-devices.net", " localhost ", "127.0.0.1", "::1", ".0.1", ".", "", ".Proxy.example:8443", "any.example:*", "one.example", "[2001:db8::1]:8443",
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := (List{Entries: allowed, Flag: "--allowed-hub-suffixes"}).Check(tc.host, tc.endpoint)
			if (err == nil) != tc.allowed {
				t.Fatalf("Check(%q, %q) = %v", tc.host, tc.endpoint, err)
			}
			if err == nil {
				return
			}
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("error is %T", err)
			}
			if text := err.Error(); !strings.Contains(text, "--allowed-hub-suffixes") || strings.Contains(text, "hunter2") {
				t.Errorf("error text: %s", text)
			}
		})
	}
}

func TestARefusalNamesTheHost(t *testing.T) {
	err := List{Entries: []string{".azure-devices.net"}, Flag: "--allowed-hub-suffixes"}.Check(testHost, "https://attacker.example:8443")
	const want = `host "attacker.example" is not among those that credentials may be sent to; see --allowed-hub-suffixes`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
