package redact

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"a SAS token":               {"SharedAccessSignature sr=h&sig=a%2Bb%3D&se=1&skn=p", "SharedAccessSignature sr=h&sig=REDACTED&se=1&skn=p"},
		"a signature at the end":    {"x?sig=abc", "x?sig=REDACTED"},
		"a signature in upper case": {"SIG=abc", "SIG=REDACTED"},
		"an escaped signature":      {"sig%3Dabc%26se", "sig%3DREDACTED"},
		"a connection string":       {"HostName=h;SharedAccessKeyName=p;SharedAccessKey=a+/b==;X=y", "HostName=h;SharedAccessKeyName=p;SharedAccessKey=REDACTED;X=y"},
		"a key in JSON":             {`{"primaryKey":"abc","secondaryKey": "def"}`, `{"primaryKey":"REDACTED","secondaryKey": "REDACTED"}`},
		"a key in escaped JSON":     {`"{\"primaryKey\":\"abc\"}"`, `"{\"primaryKey\":\"REDACTED\"}"`},
		"an escaped equals sign":    {`SharedAccessKey\u003dabc`, `SharedAccessKey\u003dREDACTED`},
		"a line break in between":   {"sig=\nabc", "sig= REDACTED"},
		"a bearer token":            {"Authorization: Bearer eyJ.a-b_c.d", "Authorization: Bearer REDACTED"},
		"two of a kind":             {"sig=a&sig=b", "sig=REDACTED&sig=REDACTED"},
		"a word that ends in sig":   {"design=x", "design=x"},
		"a cut one":                 {strings.Repeat("x", 500) + " sig=abcdefghijklmnop", strings.Repeat("x", 500) + " sig=REDA…"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Text(tc.in); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
