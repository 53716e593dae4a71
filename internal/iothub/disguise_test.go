package iothub

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/disguise"
)

func TestAConnectionStringInDisguiseIsNamed(t *testing.T) {
	plain := connectionString(testKey)
	encoded := base64.StdEncoding.EncodeToString([]byte(plain))
	for name, c := range map[string]struct{ in, want string }{
		"plain":                        {plain, ""},
		"of another kind":              {"hunter2", ""},
		"nothing":                      {"", ""},
		"after a byte order mark":      {"\ufeff" + plain, "byte order mark"},
		"in quotes":                    {`"` + plain + `"`, "without quotes"},
		"in single quotes":             {" '" + plain + "'\n", "without quotes"},
		"base64":                       {encoded, "encoded twice"},
		"base64 of a line":             {base64.StdEncoding.EncodeToString([]byte(plain + "\n")), "encoded twice"},
		"base64 in lines":              {encoded[:60] + "\n" + encoded[60:] + "\n", "encoded twice"},
		"UTF-16":                       {"\xff\xfe" + strings.Join(strings.Split(plain, ""), "\x00") + "\x00", "UTF-16"},
		"a key alone, which is base64": {testKey, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := disguise.Of(c.in)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q, expected %q in it", got, c.want)
			}
			_, err := ParseConnectionString(c.in)
			if c.want != "" && (err == nil || !isType[*ConfigError](err) || !strings.Contains(err.Error(), "connection string "+got)) {
				t.Errorf("error %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), testKey) || strings.Contains(err.Error(), encoded)) {
				t.Errorf("error with the secret: %v", err)
			}
		})
	}
}
