package simulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// A loopback address of one's own lets clients that know no other ports than 443 and 5671 be tried.
func TestAddressesNameWhereSomebodyListens(t *testing.T) {
	for listen, host := range map[string]string{
		"127.0.0.9:0": "127.0.0.9", "[::1]:0": "::1", "127.0.0.1:0": "localhost", "localhost:0": "localhost", ":0": "localhost",
	} {
		t.Run(listen, func(t *testing.T) {
			if l, err := net.Listen("tcp", listen); err != nil {
				t.Skipf("this machine has no such address: %v", err)
			} else {
				_ = l.Close()
			}
			sim, err := simulator.Start(t.Context(), simulator.Options{Listen: listen, EventsListen: listen, EventsPlainListen: listen, MQTTListen: listen})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sim.Close() })
			for _, address := range []string{
				strings.TrimPrefix(sim.Endpoint(), "https://"), sim.EventsAddress(), sim.MQTTAddress(), sim.WebSocketAddress(),
			} {
				wantTLS(t, address, host, sim.CAPEM())
			}
			emulator, _, _ := strings.Cut(strings.TrimPrefix(sim.EmulatorConnectionString("service"), "Endpoint=sb://"), "/")
			conn, err := net.Dial("tcp", emulator)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		})
	}
}

func TestAnAuthorityNamesItsOwnAddress(t *testing.T) {
	authority, err := simulator.StartEntra(t.Context(), simulator.EntraOptions{Listen: "127.0.0.9:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = authority.Close() })
	wantTLS(t, strings.TrimPrefix(authority.URL(), "https://"), "127.0.0.9", authority.CAPEM())
}

// wantTLS dials an address and checks the certificate as a client does.
func wantTLS(t *testing.T, address, host string, caPEM []byte) {
	t.Helper()
	if got, _, err := net.SplitHostPort(address); err != nil || got != host {
		t.Errorf("the address is %s, want the host %s", address, host)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(caPEM)
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool})
	if err != nil {
		t.Errorf("%s: %v", address, err)
		return
	}
	_ = conn.Close()
}
