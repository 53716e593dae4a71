package iothub

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// The signatures were computed with Python's hmac and, the first, with openssl dgst -sha256 -mac HMAC.
func TestSignGoldenVectors(t *testing.T) {
	tests := map[string]struct {
		host, policy, key string
		expiry            int64
		want              string
	}{
		"a plus and an equals sign in the signature are escaped": {
			testHost, "service", testKey, 1784628000,
			"SharedAccessSignature sr=factory.azure-devices.net&sig=%2BZBlbq4BXzFZwnP7QGyk7AmFNfZ2i7aGUteo6dRLcWU%3D&se=1784628000&skn=service",
		},
		"a host keeps its letter case and a policy is escaped": {
			"MyHub.azure-devices.cn", "policy+a b", "MDEyMzQ1Njc4OWFiY2RlZg==", 1700003600,
			"SharedAccessSignature sr=MyHub.azure-devices.cn&sig=tdwM0my2DpLD6IEwyMk%2BmxGYr%2FpEKqMqvNuCNCIsUHA%3D&se=1700003600&skn=policy%2Ba%20b",
		},
		"a slash in the signature is escaped, the key is decoded first": {
			"localhost", "iothubowner", strings.Repeat("+//7//v/", 10) + "+//7/w==", 1,
			"SharedAccessSignature sr=localhost&sig=k5imuMVBk8nAhR%2B%2Bxxj%2FiBMDWEuPOZPPPj46Tq0%2FG24%3D&se=1&skn=iothubowner",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			key, err := base64.StdEncoding.DecodeString(tc.key)
			if err != nil {
				t.Fatal(err)
			}
			s := tokenSource{hostName: tc.host, policy: tc.policy, key: newSecret(key)}
			if got := s.sign(time.Unix(tc.expiry, 0)); got != tc.want {
				t.Errorf("token\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestTokensAreRenewed(t *testing.T) {
	start := time.Date(2026, 7, 21, 9, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		at     time.Duration // after the first token
		expiry time.Duration // of the token then used, after start
	}{
		"a young token is kept":                   {47 * time.Minute, time.Hour},
		"a token just short of 80 % is kept":      {48*time.Minute - time.Second, time.Hour},
		"a token at 80 % of its life is renewed":  {48 * time.Minute, 108 * time.Minute},
		"an expired token is renewed":             {3 * time.Hour, 4 * time.Hour},
		"a clock that moved back makes a new one": {-time.Second, time.Hour - time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			now := clocktesting.NewFakeClock(start)
			p := newPeer(t, goodAnswers[OpGetTwin])
			c := p.client(t, func(o *Options) { o.Clock = now.Now })
			for _, at := range []time.Time{start, start.Add(tc.at)} {
				now.SetTime(at)
				if err := calls[OpGetTwin](t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			s := tokenSource{hostName: testHost, policy: "service", key: p.options(t).ConnectionString.key}
			if got, want := p.log()[1].header.Get("Authorization"), s.sign(start.Add(tc.expiry)); got != want {
				t.Errorf("token\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestACallMayHaveANewToken(t *testing.T) {
	now := clocktesting.NewFakeClock(time.Date(2026, 7, 21, 9, 0, 0, 0, time.UTC))
	p := newPeer(t, goodAnswers[OpGetTwin])
	c := p.client(t, func(o *Options) { o.Clock = now.Now })
	for _, ctx := range []context.Context{t.Context(), Anew(t.Context()), t.Context()} {
		if err := calls[OpGetTwin](ctx, c); err != nil {
			t.Fatal(err)
		}
		now.Step(time.Minute)
	}
	log := p.log()
	first, anew, after := log[0].header.Get("Authorization"), log[1].header.Get("Authorization"), log[2].header.Get("Authorization")
	if first == anew || anew != after {
		t.Errorf("tokens %q, %q, %q: expected a new second one, which is kept", first, anew, after)
	}
}

func TestTokensGoByTheWallClock(t *testing.T) {
	start := time.Now() // with a monotonic reading, which a corrected wall clock does not move
	s := tokenSource{hostName: testHost, policy: "service", key: newSecret([]byte("k")), now: func() time.Time { return start }}
	_ = s.token()
	if s.issued != start.Round(0) {
		t.Error("the issue time has a monotonic reading")
	}
}

func TestConcurrentRenewalMakesOneToken(t *testing.T) {
	start := time.Date(2026, 7, 21, 9, 0, 0, 0, time.UTC)
	s := &tokenSource{hostName: testHost, policy: "service", key: newSecret([]byte("k")), now: func() time.Time { return start }}
	tokens := make([]string, 64)
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() { tokens[i] = s.token() })
	}
	wg.Wait()
	for _, got := range tokens {
		if got != tokens[0] {
			t.Fatal("two tokens at one time")
		}
	}
}
