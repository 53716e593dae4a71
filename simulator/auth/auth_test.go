package auth

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

const host = "factory.azure-devices.net"

var now = time.Unix(1_700_000_000, 0)

func newPolicies() *Policies {
	n := 0
	return NewPolicies(func() string {
		n++
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(strconv.Itoa(n), 32)))
	})
}

func token(t testing.TB, p *Policies, policy, resource string, expiry time.Time) string {
	t.Helper()
	known, _ := p.Get(policy)
	s, err := Sign(resource, policy, known.Key, expiry)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// This vector was computed with Python's hmac, as "Control access to IoT Hub by using shared access signatures" shows.
func TestSignatureIsTheDocumentedOne(t *testing.T) {
	got, err := Sign(host+"/devices/dev1", "", base64.StdEncoding.EncodeToString([]byte("0123456789abcdef")), time.Unix(1700000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	const want = "SharedAccessSignature sr=factory.azure-devices.net%2Fdevices%2Fdev1&sig=Dy%2B6XQyLiZmRtC6MsepGcC%2B3tVROuVUY5j6w26%2Fpnes%3D&se=1700000000"
	if got != want {
		t.Errorf("got %s", got)
	}
}

func TestAuthorize(t *testing.T) {
	p := newPolicies()
	good := token(t, p, "service", host, now.Add(time.Hour))
	fields := strings.Split(strings.TrimPrefix(good, Scheme), "&")
	tests := map[string]struct {
		header, resource string
		want             Right
		err              error
	}{
		"a good token":                      {good, host + "/twins/dev1", ServiceConnect, nil},
		"its fields in another order":       {Scheme + fields[3] + "&" + fields[2] + "&" + fields[1] + "&" + fields[0], host + "/twins/dev1", ServiceConnect, nil},
		"the host in capitals":              {token(t, p, "service", strings.ToUpper(host), now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, nil},
		"a resource that is a prefix":       {token(t, p, "service", host+"/twins", now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, nil},
		"a resource in full":                {token(t, p, "service", host+"/twins/dev1", now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, nil},
		"a slash at its end":                {token(t, p, "service", host+"/", now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, nil},
		"part of a segment is no prefix":    {token(t, p, "service", host+"/twins/dev", now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"a longer resource":                 {token(t, p, "service", host+"/twins/dev1/methods", now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"another host":                      {token(t, p, "service", "other.azure-devices.net", now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"the address that it listens on":    {token(t, p, "service", "localhost", now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"an expired token":                  {token(t, p, "service", host, now), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"an unknown policy":                 {strings.Replace(good, "skn=service", "skn=nobody", 1), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"the name of another policy":        {strings.Replace(good, "skn=service", "skn=iothubowner", 1), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"no policy":                         {strings.Replace(good, "&skn=service", "", 1), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"another expiry than was signed":    {strings.Replace(good, "se=17", "se=18", 1), host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"no header":                         {"", host + "/twins/dev1", ServiceConnect, ErrMissing},
		"a bearer token":                    {"Bearer abc", host + "/twins/dev1", ServiceConnect, ErrInvalid},
		"service may not read the registry": {good, host + "/devices/dev1", RegistryRead, ErrDenied},
		"registryRead may":                  {token(t, p, "registryRead", host, now.Add(time.Hour)), host + "/devices/dev1", RegistryRead, nil},
		"but not write it":                  {token(t, p, "registryRead", host, now.Add(time.Hour)), host + "/devices/dev1", RegistryWrite, ErrDenied},
		"registryReadWrite may":             {token(t, p, "registryReadWrite", host, now.Add(time.Hour)), host + "/devices/dev1", RegistryWrite, nil},
		"but not read twins":                {token(t, p, "registryReadWrite", host, now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect, ErrDenied},
		"device may do neither":             {token(t, p, "device", host, now.Add(time.Hour)), host + "/twins/dev1", ServiceConnect | RegistryRead, ErrDenied},
		"iothubowner may do everything":     {token(t, p, "iothubowner", host, now.Add(time.Hour)), host + "/devices/dev1", RegistryWrite, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := p.Authorize(test.header, test.resource, test.want, now); !errors.Is(err, test.err) {
				t.Errorf("got %v want %v", err, test.err)
			}
		})
	}
}

func TestPolicyChanges(t *testing.T) {
	p := newPolicies()
	old := token(t, p, "service", host, now.Add(time.Hour))
	try := func(header string) error { return p.Authorize(header, host+"/twins/x", ServiceConnect, now) }
	steps := []struct {
		do   func() error
		want error
	}{
		{func() error { return p.Disable("service") }, ErrInvalid},
		{func() error { return p.Enable("service") }, nil},
		{func() error { return p.Rekey("service") }, ErrInvalid},
	}
	for i, step := range steps {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if err := try(old); !errors.Is(err, step.want) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if err := try(token(t, p, "service", host, now.Add(time.Hour))); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if err := p.Rekey("nobody"); err == nil || len(p.List()) != 5 {
		t.Error("an unknown policy must be an error")
	}
}

func TestMalformedTokens(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":              ``,
		"the Scheme alone":     Scheme,
		"no resource":          Scheme + `sig=YQ%3D%3D&se=1`,
		"no signature":         Scheme + `sr=h&se=1`,
		"no expiry":            Scheme + `sr=h&sig=YQ%3D%3D`,
		"an expiry in words":   Scheme + `sr=h&sig=YQ%3D%3D&se=soon`,
		"a bad signature":      Scheme + `sr=h&sig=%zz&se=1`,
		"a signature of words": Scheme + `sr=h&sig=!&se=1`,
		"a bad resource":       Scheme + `sr=%zz&sig=YQ%3D%3D&se=1`,
		"a bad policy":         Scheme + `sr=h&sig=YQ%3D%3D&se=1&skn=%zz`,
		"a field twice":        Scheme + `sr=h&sr=h&sig=YQ%3D%3D&se=1`,
		"a field without =":    Scheme + `sr=h&sig=YQ%3D%3D&se=1&skn`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Parse(s); err == nil {
				t.Errorf("accepted as %+v", got)
			}
		})
	}
}

func TestPlusInASignatureIsNotASpace(t *testing.T) {
	if _, err := Parse(Scheme + "sr=h&sig=a+b/&se=1"); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Scheme + "sr=factory.azure-devices.net%2Fdevices%2Fdev1&sig=YQ%3D%3D&se=1700000000&skn=service")
	f.Add(Scheme + "se=1&sig=a+b/&sr=h")
	f.Add(Scheme + "&&==")
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := Parse(s)
		if err != nil {
			return
		}
		if parsed.Verify(key, time.Unix(0, 0)) == nil {
			t.Errorf("forged: %q", s)
		}
		parsed.Covers("h/devices/dev1")
	})
}

func TestRightsOfAnEventHub(t *testing.T) {
	p := newPolicies()
	if err := errors.Join(p.Add("ListenOnly", Listen), p.Add("SendOnly", Send), p.Add("Both", Listen|Send)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct{ listen, send bool }{
		"ListenOnly":        {true, false},
		"SendOnly":          {false, true},
		"Both":              {true, true},
		"service":           {true, true},
		"iothubowner":       {true, true},
		"device":            {false, false},
		"registryRead":      {false, false},
		"registryReadWrite": {false, false},
	} {
		policy, ok := p.Get(name)
		if !ok || policy.MayListen() != want.listen || policy.MaySend() != want.send {
			t.Errorf("%s: listen %v, send %v, want %+v", name, policy.MayListen(), policy.MaySend(), want)
		}
	}
	if err := p.Add("service", Listen); err == nil {
		t.Error("a policy was added twice")
	}
	header := token(t, p, "Both", host, now.Add(time.Hour))
	if err := p.Authorize(header, host+"/twins/dev1", ServiceConnect|RegistryRead, now); !errors.Is(err, ErrDenied) {
		t.Errorf("rights of an event hub are none of the hub: %v", err)
	}
}
