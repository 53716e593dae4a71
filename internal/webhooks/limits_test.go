package webhooks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answers is the status of a POST to a limited handler, and what it says.
func answers(s *limitedServer, body io.Reader, next http.HandlerFunc) (int, string) {
	recorder := httptest.NewRecorder()
	s.limit(next).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", body))
	return recorder.Code, recorder.Body.String()
}

// endless is a body of a length that nobody states.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

func TestReviewsAreRefusedForTheirSize(t *testing.T) {
	unsaid := &endless{}
	for name, c := range map[string]struct {
		body   io.Reader
		status int
		text   string
	}{
		"as large as may be":       {bytes.NewReader(make([]byte, maxReview)), http.StatusOK, ""},
		"larger":                   {bytes.NewReader(make([]byte, maxReview+1)), http.StatusRequestEntityTooLarge, "want at most 3670016"},
		"of a length that is lied": {unsaid, http.StatusRequestEntityTooLarge, "want at most 3670016"},
		"of many small values":     {strings.NewReader("[" + strings.Repeat("0,", maxReviewValues) + "0]"), http.StatusRequestEntityTooLarge, "JSON values"},
	} {
		t.Run(name, func(t *testing.T) {
			s := limited(nil)
			s.within = time.Minute // on a machine that does much else
			status, text := answers(s, c.body, func(http.ResponseWriter, *http.Request) {
				if c.status != http.StatusOK {
					t.Error("it is handed on")
				}
			})
			if status != c.status || !strings.Contains(text, c.text) {
				t.Errorf("HTTP %d %q, want %d %q", status, text, c.status, c.text)
			}
		})
	}
	if unsaid.read > 2*maxReview {
		t.Errorf("%d bytes were read", unsaid.read)
	}
}

func TestTheHandlerReadsWhatWasSent(t *testing.T) {
	status, text := answers(limited(nil), strings.NewReader(`{"a":1}`), func(w http.ResponseWriter, r *http.Request) {
		if _, hurry := r.Context().Deadline(); !hurry {
			t.Error("it may take as long as it likes")
		}
		_, _ = io.Copy(w, r.Body)
	})
	if status != http.StatusOK || text != `{"a":1}` {
		t.Errorf("HTTP %d %q", status, text)
	}
}

func TestReviewsUnderWayAreBounded(t *testing.T) {
	s := limited(nil)
	s.within = 50 * time.Millisecond
	large := func() io.Reader { return strings.NewReader("[" + strings.Repeat("0,", maxReviewValues-10) + "0]") }
	free := make(chan bool)
	started := make(chan bool)
	first := make(chan int)
	go func() {
		status, _ := answers(s, large(), func(http.ResponseWriter, *http.Request) { started <- true; <-free })
		first <- status
	}()
	<-started
	status, text := answers(s, large(), func(http.ResponseWriter, *http.Request) { t.Error("two large ones are checked at once") })
	if status != http.StatusServiceUnavailable || !strings.Contains(text, "not checked at admission") {
		t.Errorf("HTTP %d %q", status, text)
	}
	if status, _ := answers(s, strings.NewReader(`{}`), func(http.ResponseWriter, *http.Request) {}); status != http.StatusOK {
		t.Errorf("a small one waits: HTTP %d", status)
	}
	free <- true
	if status := <-first; status != http.StatusOK {
		t.Errorf("HTTP %d", status)
	}
	if status, _ := answers(s, large(), func(http.ResponseWriter, *http.Request) {}); status != http.StatusOK {
		t.Errorf("there is no room after it: HTTP %d", status)
	}
}

func TestABodyThatDoesNotComeIsGivenUp(t *testing.T) {
	s := limited(nil)
	s.within = 100 * time.Millisecond
	server := httptest.NewServer(s.limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it is handed on") })))
	defer server.Close()
	body, end := io.Pipe()
	defer func() { _ = end.Close() }()
	go func() { _, _ = end.Write([]byte("{")) }()
	response, err := http.Post(server.URL, "application/json", body) // the server ends it
	if err == nil {
		defer func() { _ = response.Body.Close() }()
	}
	if err == nil && response.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP %d", response.StatusCode)
	}
}

// newClient makes an authority of its own certificate.
func newClient(t *testing.T) (certificate tls.Certificate, encoded []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func TestClientCertificates(t *testing.T) {
	certificate, encoded := newClient(t)
	other, _ := newClient(t)
	folder := t.TempDir()
	good, bad := filepath.Join(folder, "ca.crt"), filepath.Join(folder, "bad.crt")
	for file, content := range map[string][]byte{good: encoded, bad: []byte("x")} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, works := range map[string]bool{good: true, bad: false, filepath.Join(folder, "none"): false, "": true} {
		if _, err := NewServer(0, folder, file); (err == nil) != works {
			t.Errorf("%q: %v", file, err)
		}
	}
	only, err := onlyClientsOf(good)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	only(server.TLS)
	server.StartTLS()
	defer server.Close()
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		served       bool
	}{"that of the authority": {[]tls.Certificate{certificate}, true}, "another one": {[]tls.Certificate{other}, false}, "none": {nil, false}} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = c.certificates
		response, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err == nil {
			_ = response.Body.Close()
		}
		if (err == nil) != c.served {
			t.Errorf("%s: %v", name, err)
		}
	}
}
