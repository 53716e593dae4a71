package amqp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// granted is what a policy may do.
type granted struct{ Read, Send, Properties bool }

func TestPoliciesGrantTheirRights(t *testing.T) {
	s := newSite(t)
	must(t, errors.Join(s.policies.Add("ListenOnly", auth.Listen), s.policies.Add("SendOnly", auth.Send)))
	s.log.Append(0, eventhub.Message{Body: []byte("x")})
	for policy, want := range map[string]granted{
		"iothubowner":  {true, true, true},
		"service":      {true, true, true},
		"ListenOnly":   {Read: true, Properties: true},
		"SendOnly":     {Send: true, Properties: true},
		"device":       {},
		"registryRead": {},
	} {
		t.Run(policy, func(t *testing.T) {
			got := granted{Read: allowed(t, mayRead(t, s, policy)), Send: allowed(t, maySend(t, s, policy)), Properties: allowed(t, mayAsk(t, s, policy))}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// allowed fails at errors other than a refusal.
func allowed(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return true
	}
	if code := codeOf(err); code != string(azeventhubs.ErrorCodeUnauthorizedAccess) && code != "amqp:unauthorized-access" {
		t.Fatal(err)
	}
	return false
}

var once = azeventhubs.RetryOptions{MaxRetries: -1}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func consumerOf(t *testing.T, s *site, policy string) *azeventhubs.ConsumerClient {
	t.Helper()
	c, err := azeventhubs.NewConsumerClientFromConnectionString(s.connectionString(policy), "", group, &azeventhubs.ConsumerClientOptions{RetryOptions: once})
	must(t, err)
	t.Cleanup(func() { closing(c) })
	return c
}

func mayAsk(t *testing.T, s *site, policy string) error {
	t.Helper()
	_, err := consumerOf(t, s, policy).GetEventHubProperties(soon(t), nil)
	return err
}

func mayRead(t *testing.T, s *site, policy string) error {
	t.Helper()
	_, err := partition(t, consumerOf(t, s, policy), "0", earliestOptions).ReceiveEvents(soon(t), 1, nil)
	return err
}

func maySend(t *testing.T, s *site, policy string) error {
	t.Helper()
	p, err := azeventhubs.NewProducerClientFromConnectionString(s.connectionString(policy), "", &azeventhubs.ProducerClientOptions{RetryOptions: once})
	must(t, err)
	t.Cleanup(func() { closing(p) })
	batch, err := p.NewEventDataBatch(soon(t), &azeventhubs.EventDataBatchOptions{PartitionID: new("1")})
	if err != nil {
		return err
	}
	must(t, batch.AddEventData(&azeventhubs.EventData{Body: []byte("x")}, nil))
	return p.SendEventDataBatch(soon(t), batch, nil)
}
