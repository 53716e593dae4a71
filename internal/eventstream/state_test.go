package eventstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
)

// answer is the failure of a management request, as the client returns it.
type answer int

func (a answer) Error() string { return fmt.Sprintf("status %d", int(a)) }
func (a answer) RPCCode() int  { return int(a) }

func TestWhatAFailureMeans(t *testing.T) {
	condition := func(c amqp.ErrCond) error { return fmt.Errorf("attach: %w", &amqp.Error{Condition: c}) }
	for name, c := range map[string]struct {
		err              error
		link, management Phase
	}{
		"ownership lost":            {&azeventhubs.Error{Code: azeventhubs.ErrorCodeOwnershipLost}, Taken, Taken},
		"refused for a lower level": {condition("amqp:link:stolen"), Taken, Taken},
		"unauthorized":              {&azeventhubs.Error{Code: azeventhubs.ErrorCodeUnauthorizedAccess}, Unauthorized, Unauthorized},
		"no right to listen":        {condition("amqp:unauthorized-access"), Unauthorized, Unauthorized},
		"not found":                 {condition("amqp:not-found"), GroupGone, HubGone},
		"disabled":                  {condition("com.microsoft:entity-disabled"), HubGone, HubGone},
		"sixth receiver":            {condition("amqp:resource-limit-exceeded"), Busy, Busy},
		"busy":                      {condition("com.microsoft:server-busy"), Busy, Busy},
		"unheard-of condition":      {condition("com.microsoft:new"), Unavailable, Unavailable},
		"no such name":              {&net.DNSError{IsNotFound: true}, HubGone, HubGone},
		"name server failing":       {&net.DNSError{IsTemporary: true}, Unavailable, Unavailable},
		"connection lost":           {&azeventhubs.Error{Code: azeventhubs.ErrorCodeConnectionLost}, Unavailable, Unavailable},
		"connection cut":            {io.EOF, Unavailable, Unavailable},
		"time out":                  {context.DeadlineExceeded, Unavailable, Unavailable},
		"answer 401":                {answer(401), Unavailable, Unauthorized},
		"answer 404":                {answer(404), Unavailable, HubGone},
		"answer 500":                {answer(500), Unavailable, Unavailable},
		"said before":               {&failure{StoreFailed, errors.New("x")}, StoreFailed, StoreFailed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := []Phase{phaseOf(c.err), managementPhase(c.err)}; !cmp.Equal(got, []Phase{c.link, c.management}) {
				t.Errorf("got %v, want %v", got, []Phase{c.link, c.management})
			}
		})
	}
}

func TestTheWorstPartitionSpeaksForTheStream(t *testing.T) {
	var told []State
	p := &phases{report: func(s State) { told = append(told, s) }}
	p.all(Connecting)
	p.each([]string{"0", "1", "2"}, Connecting)
	for _, id := range []string{"0", "1", "2"} {
		p.set(id, Reading)
	}
	p.lag("1", true)
	p.lag("1", true)
	p.set("2", Taken)
	p.set("0", Taken)
	p.set("0", Reading)
	p.set("2", Reading)
	p.lag("1", false)
	p.store(false)
	p.store(true)
	p.all(Unavailable)
	p.set("0", Reading) // a late word from a connection that is gone
	want := []State{
		{Connecting, nil}, {Connecting, []string{"0", "1", "2"}}, {Connecting, []string{"1", "2"}}, {Connecting, []string{"2"}},
		{Reading, []string{"0", "1", "2"}}, {Lagging, []string{"1"}}, {Taken, []string{"2"}}, {Taken, []string{"0", "2"}},
		{Taken, []string{"2"}}, {Lagging, []string{"1"}}, {Reading, []string{"0", "1", "2"}},
		{StoreFailed, nil}, {Reading, []string{"0", "1", "2"}}, {Unavailable, nil},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestConnectionStringsOfEventHubs(t *testing.T) {
	const secret = "c2VjcmV0LXNlY3JldA=="
	for name, c := range map[string]struct{ in, wrong string }{
		"complete":                   {"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p;SharedAccessKey=" + secret + ";EntityPath=e", ""},
		"emulator on this machine":   {"Endpoint=sb://localhost:5672;SharedAccessKeyName=p;SharedAccessKey=" + secret + ";EntityPath=e;UseDevelopmentEmulator=true", ""},
		"emulator on another":        {"Endpoint=sb://ns.example.com;SharedAccessKeyName=p;SharedAccessKey=" + secret + ";EntityPath=e;UseDevelopmentEmulator=true", `UseDevelopmentEmulator sends tokens without encryption: allowed to this machine only, got "ns.example.com"`},
		"without an entity":          {"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p;SharedAccessKey=" + secret, "EntityPath is missing: the connection string has to name the event hub"},
		"without a key":              {"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p;EntityPath=e", notAConnectionString},
		"of an IoT hub":              {"HostName=h.azure-devices.net;SharedAccessKeyName=p;SharedAccessKey=" + secret, notAConnectionString},
		"empty":                      {"", notAConnectionString},
		"in quotes":                  {`"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p;SharedAccessKey=` + secret + `;EntityPath=e"`, "the connection string begins with a quotation mark: store it without quotes"},
		"nonsense with the secret":   {secret, notAConnectionString},
		"a line break in the middle": {"Endpoint=sb://ns.servicebus.windows.net/\n;SharedAccessKey=" + secret, notAConnectionString},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseConnectionString(c.in)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.wrong, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}
