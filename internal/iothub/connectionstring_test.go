package iothub

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestParseConnectionString(t *testing.T) {
	want := ConnectionString{HostName: testHost, SharedAccessKeyName: "service"}
	raw, _ := base64.StdEncoding.DecodeString(testKey)
	want.key = newSecret(raw)
	tests := map[string]string{
		"as the portal prints it":  connectionString(testKey),
		"with a final line break":  connectionString(testKey) + "\n",
		"with a final semicolon":   connectionString(testKey) + ";",
		"in another order":         "SharedAccessKey=" + testKey + ";HostName=" + testHost + ";SharedAccessKeyName=service",
		"in another letter case":   "hostname=" + testHost + ";sharedaccesskeyname=service;SHAREDACCESSKEY=" + testKey,
		"with spaces":              " HostName = " + testHost + " ; SharedAccessKeyName = service ; SharedAccessKey = " + testKey + " ",
		"with an unknown field":    connectionString(testKey) + ";GatewayHostName=edge",
		"with Windows line breaks": connectionString(testKey) + "\r\n",
	}
	for name, s := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseConnectionString(s)
			if err != nil || !got.Equal(want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestParseConnectionStringRefuses(t *testing.T) {
	const key = "SharedAccessKey=" + testKey
	tests := map[string]struct{ s, want string }{
		"nothing":                {"", "HostName is missing or empty"},
		"no host":                {"SharedAccessKeyName=service;" + key, "HostName is missing or empty"},
		"an empty host":          {"HostName=;SharedAccessKeyName=service;" + key, "HostName is missing or empty"},
		"a host with port":       {"HostName=localhost:8443;SharedAccessKeyName=s;" + key, "HostName must be a host name without scheme, port or path"},
		"a host with scheme":     {"HostName=https://h;SharedAccessKeyName=s;" + key, "HostName must be a host name without scheme, port or path"},
		"no policy":              {"HostName=h;" + key, "SharedAccessKeyName is missing or empty"},
		"an empty policy":        {"HostName=h;SharedAccessKeyName=;" + key, "SharedAccessKeyName is missing or empty"},
		"no key":                 {"HostName=h;SharedAccessKeyName=s", "SharedAccessKey is missing or empty"},
		"an empty key":           {"HostName=h;SharedAccessKeyName=s;SharedAccessKey=", "SharedAccessKey is missing or empty"},
		"a key of padding only":  {"HostName=h;SharedAccessKeyName=s;SharedAccessKey====", "SharedAccessKey is not base64"},
		"a key that is cut":      {"HostName=h;SharedAccessKeyName=s;" + key[:len(key)-2], "SharedAccessKey is not base64"},
		"a key that is not":      {"HostName=h;SharedAccessKeyName=s;SharedAccessKey=hunter2!", "SharedAccessKey is not base64"},
		"a field twice":          {connectionString(testKey) + ";" + key, "connection string has a field twice"},
		"a part without a value": {"HostName=h;" + testKey[:43], "connection string has a part without '='"},
		"a device's string":      {"HostName=h;DeviceId=d;" + key, "DeviceId belongs to a device's connection string; the hub's service connection string is needed"},
		"a module's string":      {"HostName=h;ModuleId=m;" + key, "ModuleId belongs to a module's connection string; the hub's service connection string is needed"},
		"an Event Hubs string": {
			"Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=s;" + key + ";EntityPath=e",
			"Endpoint belongs to an Event Hubs connection string; the hub's service connection string, which begins with HostName=, is needed",
		},
		"a token": {
			"HostName=h;SharedAccessSignature=SharedAccessSignature sr=h&sig=x",
			"SharedAccessSignature is a token that expires; a connection string with SharedAccessKey is needed",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseConnectionString(tc.s)
			if err == nil || err.Error() != tc.want || !isType[*ConfigError](err) || ClassOf(err) != Terminal {
				t.Errorf("error %v, want %s", err, tc.want)
			}
			if got.key.reveal != nil {
				t.Error("a key was returned beside the error")
			}
		})
	}
}

func TestConnectionStringsDifferByKey(t *testing.T) {
	a, _ := ParseConnectionString(connectionString(testKey))
	b, _ := ParseConnectionString(connectionString("MDEyMzQ1Njc4OWFiY2RlZg=="))
	self := a
	if a.Equal(b) || !a.Equal(self) || a.Equal(ConnectionString{}) || !(ConnectionString{}).Equal(ConnectionString{}) {
		t.Error("Equal is wrong")
	}
}

func FuzzParseConnectionString(f *testing.F) {
	for _, s := range []string{
		"", ";", "=", ";;=;", connectionString(testKey), connectionString(testKey) + ";DeviceId=d",
		"Endpoint=sb://n/;SharedAccessKeyName=s;SharedAccessKey=" + testKey, "HostName=h;SharedAccessKeyName==;SharedAccessKey=====",
		"HostName=\x00;SharedAccessKeyName=\xff;SharedAccessKey=AA==",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseConnectionString(s)
		if err != nil {
			if !isType[*ConfigError](err) {
				t.Fatalf("error is a %T", err)
			}
			return
		}
		again, err := ParseConnectionString("HostName=" + c.HostName + ";SharedAccessKeyName=" + c.SharedAccessKeyName +
			";SharedAccessKey=" + base64.StdEncoding.EncodeToString(c.key.bytes()))
		if err != nil || !again.Equal(c) {
			t.Fatalf("%q does not survive a second round: %v", s, err)
		}
		if strings.ContainsAny(c.HostName, ":/@ ") && !strings.Contains(c.HostName, "::") && strings.Count(c.HostName, ":") < 2 {
			t.Fatalf("host name %q", c.HostName)
		}
	})
}
