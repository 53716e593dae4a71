package iothub

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"

	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// spellings are the ways in which bytes get printed by accident.
func spellings(secret []byte) []string {
	b64 := base64.StdEncoding.EncodeToString(secret)
	return []string{
		string(secret), b64, url.QueryEscape(b64), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		strings.Trim(fmt.Sprintf("%d", secret), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte{"), "}"),
	}
}

func assertNoSecret(t *testing.T, where, text string, secrets ...[]byte) {
	t.Helper()
	for _, s := range secrets {
		for _, form := range spellings(s) {
			if strings.Contains(text, form) {
				t.Errorf("%s shows a secret: %s", where, text)
				return
			}
		}
	}
}

// printed is v in every form that a logger could choose.
func printed(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T", "%p"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	marshalled, err := json.Marshal(v)
	out["json"] = fmt.Sprint(string(marshalled), err)
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("x", "v", v)
		out[name] = b.String()
	}
	return out
}

func signatureOf(t *testing.T, authorization string) []byte {
	t.Helper()
	_, rest, ok := strings.Cut(authorization, "&sig=")
	escaped, _, _ := strings.Cut(rest, "&")
	b64, err := url.QueryUnescape(escaped)
	if !ok || err != nil {
		t.Fatalf("no signature in %q", authorization)
	}
	sig, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// echo is a hub that repeats the credential in every place of an error that is copied.
func echo(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("Authorization")
	w.Header().Set("iothub-errorcode", token)
	w.Header().Set("x-ms-request-id", token)
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprintln(w, encoded(map[string]string{"Message": "ErrorCode:" + token + ";" + token, "ExceptionMessage": "Tracking ID:" + token}))
}

func encoded(members map[string]string) string {
	raw, err := json.Marshal(members)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(raw)
}

// wrappedEcho repeats it in the envelope within an envelope, and plainEcho in no envelope at all.
func wrappedEcho(w http.ResponseWriter, r *http.Request) {
	inner := encoded(map[string]string{"errorCode": "401002", "message": r.Header.Get("Authorization"), "trackingId": r.Header.Get("Authorization")})
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprintln(w, encoded(map[string]string{"Message": inner}))
}

func plainEcho(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusBadGateway)
	_, _ = fmt.Fprintf(w, "<pre>Authorization: %s\r\n%s</pre>", r.Header.Get("Authorization"), connectionString(testKey))
}

// statusEcho repeats it in the status line, and garbledEcho in something that is not HTTP.
func statusEcho(w http.ResponseWriter, r *http.Request) {
	written("HTTP/1.1 401 "+r.Header.Get("Authorization")+"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false)(w, r)
}

func garbledEcho(w http.ResponseWriter, r *http.Request) {
	written(r.Header.Get("Authorization")+"\r\n\r\n", false)(w, r)
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	var wire bytes.Buffer
	azlog.SetListener(func(event azlog.Event, text string) { fmt.Fprintln(&wire, event, text) })
	azlog.SetEvents()
	defer azlog.SetListener(nil)

	p := newPeer(t, echo, wrappedEcho, plainEcho, statusEcho, garbledEcho, goodAnswers[OpGetTwin])
	o := p.options(t)
	c := p.client(t)
	values := map[string]any{
		"connection string": o.ConnectionString, "pointer to it": &o.ConnectionString, "options": o, "pointer to options": &o,
		"its key": o.ConnectionString.key, "map": map[string]any{"a": []ConnectionString{o.ConnectionString}},
	}
	for _, name := range []string{"echo", "wrapped echo", "plain echo", "status echo", "garbled echo", "success"} {
		_, err := c.GetTwin(t.Context(), "dev1")
		if (err == nil) != (name == "success") {
			t.Fatalf("%s: %v", name, err)
		}
		values[name] = err
		values[name+" wrapped"] = fmt.Errorf("x: %w", err)
		if e, ok := errors.AsType[*Error](err); ok {
			values[name+" as a struct"], values[name+" stable"] = *e, e.Stable()
		}
	}
	_, values["connection string error"] = ParseConnectionString(connectionString(testKey) + ";DeviceId=" + testKey)
	_, values["host error"] = New(Options{HostName: testHost, Endpoint: "https://service:" + url.QueryEscape(testKey) + "@attacker.example"})
	values["client"], values["client as a struct"] = c, *c // copied to be printed

	key := o.ConnectionString.key.bytes()
	signature := signatureOf(t, p.log()[0].header.Get("Authorization"))
	for name, v := range values {
		for form, text := range printed(v) {
			assertNoSecret(t, name+" by "+form, text, key, signature)
		}
	}
	if !strings.Contains(wire.String(), "RESPONSE") {
		t.Fatal("azcore logged nothing, so the log proves nothing")
	}
	assertNoSecret(t, "azcore's log", wire.String(), key, signature)
}

func TestErrorsSayThatSomethingWasRedacted(t *testing.T) {
	_, err := newPeer(t, echo).client(t).GetTwin(t.Context(), "dev1")
	if !strings.Contains(err.Error(), "sig="+redact.Placeholder) {
		t.Errorf("error %v", err)
	}
}
