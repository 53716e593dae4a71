package amqp_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"

	"context"

	simulated "github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

func TestReadersAreRefusedAsTheServiceRefusesThem(t *testing.T) {
	for name, c := range map[string]struct {
		group, partition, policy string
		prepare                  func(*site)
		want                     string // condition or code
	}{
		"a consumer group that does not exist": {"nobody", "0", "service", nil, "amqp:not-found"},
		"a partition that does not exist":      {group, "7", "service", nil, "com.microsoft:argument-out-of-range"},
		"an event hub that is gone":            {group, "0", "service", func(s *site) { s.log.Delete() }, "amqp:not-found"},
		"a policy that may not listen":         {group, "0", "registryRead", nil, "unauthorized"},
		"a policy that is disabled":            {group, "0", "service", func(s *site) { _ = s.policies.Disable("service") }, "unauthorized"},
		"a token that is refused":              {group, "0", "service", func(s *site) { s.server.RefuseTokens(1) }, "unauthorized"},
		"a service that is busy":               {group, "0", "service", func(s *site) { s.server.RefuseAttach(1, "com.microsoft:server-busy", "busy") }, "com.microsoft:server-busy"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			client, err := azeventhubs.NewConsumerClientFromConnectionString(s.connectionString(c.policy), "", c.group,
				&azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closing(client) })
			if c.prepare != nil {
				c.prepare(s)
			}
			began := time.Now()
			err = failure(t, partition(t, client, c.partition, azeventhubs.PartitionClientOptions{StartPosition: earliest}))
			if got := codeOf(err); got != c.want {
				t.Errorf("refused with %q, want %q: %v", got, c.want, err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("refused after %v: the client took it for a broken connection", took)
			}
		})
	}
}

// codeOf is what the client made of a refusal.
func codeOf(err error) string {
	if e, ok := errors.AsType[*azeventhubs.Error](err); ok {
		return string(e.Code)
	}
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return string(e.Condition)
	}
	return err.Error()
}

func TestPropertiesOfWhatDoesNotExistAreRefused(t *testing.T) {
	s := newSite(t)
	c := s.consumer(t, group)
	if _, err := c.GetPartitionProperties(t.Context(), "7", nil); err == nil {
		t.Error("a partition that does not exist has properties")
	}
	s.log.Delete()
	_, err := c.GetEventHubProperties(t.Context(), nil)
	var answer interface{ RPCCode() int }
	if !errors.As(err, &answer) || answer.RPCCode() != 404 {
		t.Errorf("an event hub that is gone: %v", err)
	}
	s.log.Recreate()
	if p, err := c.GetEventHubProperties(t.Context(), nil); err != nil || len(p.PartitionIDs) != 2 || p.Name != hubName {
		t.Errorf("the event hub that came back: %+v, %v", p, err)
	}
}

func TestWhoReadsBesideWhom(t *testing.T) {
	level := func(n int64) azeventhubs.PartitionClientOptions {
		return azeventhubs.PartitionClientOptions{StartPosition: earliest, OwnerLevel: &n}
	}
	plain := azeventhubs.PartitionClientOptions{StartPosition: earliest}
	for name, c := range map[string]struct {
		first, second   azeventhubs.PartitionClientOptions
		evicts, refused bool
		words           string
	}{
		"a higher level evicts":             {level(1), level(2), true, false, "is created hence current receiver"},
		"the same level evicts":             {level(1), level(1), true, false, "is created hence current receiver"},
		"a lower level is refused":          {level(2), level(1), false, true, "with a higher epoch '2' already exists"},
		"none is refused beside a level":    {level(0), plain, false, true, "At least one receiver for the endpoint is created with epoch of '0'"},
		"a level evicts one without":        {plain, level(0), true, false, "is created hence current receiver"},
		"two without a level read together": {plain, plain, false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.log.Append(0, eventhub.Message{Body: []byte("x")})
			first := partition(t, s.consumer(t, group), "0", c.first)
			receive(t, first, 1)
			second := partition(t, s.consumer(t, group), "0", c.second)
			if c.refused {
				expectOwnershipLost(t, failure(t, second), c.words)
				return
			}
			receive(t, second, 1)
			if c.evicts {
				expectOwnershipLost(t, failure(t, first), c.words)
				return
			}
			s.log.Append(0, eventhub.Message{Body: []byte("y")})
			receive(t, first, 1)
			receive(t, second, 1)
		})
	}
	t.Run("a sixth without a level is refused, but in another group", func(t *testing.T) {
		s := newSite(t)
		s.log.Append(0, eventhub.Message{Body: []byte("x")})
		for range 5 {
			receive(t, partition(t, s.consumer(t, group), "0", plain), 1)
		}
		if got := codeOf(failure(t, partition(t, s.consumer(t, group), "0", plain))); got != "amqp:resource-limit-exceeded" {
			t.Errorf("refused with %s", got)
		}
		receive(t, partition(t, s.consumer(t, eventhub.DefaultGroup), "0", plain), 1)
	})
}

func expectOwnershipLost(t *testing.T, err error, words string) {
	t.Helper()
	if codeOf(err) != string(azeventhubs.ErrorCodeOwnershipLost) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want ownership lost: %s", err, words)
	}
}

type credential struct{ token string }

func (c credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: c.token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestALinkWhoseTokenRunsOutIsDetached(t *testing.T) {
	var late atomic.Bool
	clock := func() time.Time {
		if late.Load() {
			return time.Now().Add(3 * time.Hour)
		}
		return time.Now()
	}
	s := newSite(t, func(o *simulated.Options) { o.Clock = clock })
	s.log.Append(0, eventhub.Message{Body: []byte("x")})
	p := partition(t, s.consumer(t, group), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
	receive(t, p, 1)
	late.Store(true)
	s.log.Append(0, eventhub.Message{Body: []byte("wakes the connection")})
	if got := codeOf(failure(t, p)); got != string(azeventhubs.ErrorCodeUnauthorizedAccess) {
		t.Errorf("got %s", got)
	}
}
