package iothub

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/allowlist"
	"github.com/pnp-operator/pnp-operator/internal/disguise"
	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// ConnectionString is the service connection string of an IoT hub, as the portal and `az iot hub connection-string show`
// print it: HostName=<host>;SharedAccessKeyName=<policy>;SharedAccessKey=<base64>. However it is printed, its key is not.
type ConnectionString struct {
	// HostName of the hub, such as factory.azure-devices.net.
	HostName string
	// SharedAccessKeyName is the policy, such as service or iothubowner.
	SharedAccessKeyName string

	key secret // decoded from base64
}

// Fields of the connection strings that Microsoft's tools print.
const (
	fieldHostName = "HostName"
	fieldKeyName  = "SharedAccessKeyName"
	fieldKey      = "SharedAccessKey"
)

// foreignFields tell that a string is of another kind, and of which.
var foreignFields = []struct{ name, problem string }{
	{"DeviceId", "belongs to a device's connection string; the hub's service connection string is needed"},
	{"ModuleId", "belongs to a module's connection string; the hub's service connection string is needed"},
	{"Endpoint", "belongs to an Event Hubs connection string; the hub's service connection string, which begins with HostName=, is needed"},
	{"SharedAccessSignature", "is a token that expires; a connection string with SharedAccessKey is needed"},
}

// ParseConnectionString reads the service connection string of a hub. Its errors are *ConfigError: they name the field
// that is missing or wrong, never a value. Field names are taken in any letter case, unknown ones are ignored, and so is
// white space around the string, which files and Secrets often end in.
func ParseConnectionString(s string) (ConnectionString, error) {
	if problem := disguise.Of(s); problem != "" {
		return ConnectionString{}, &ConfigError{Field: "connection string", Problem: problem}
	}
	fields, err := splitFields(s)
	if err != nil {
		return ConnectionString{}, err
	}
	for _, f := range foreignFields {
		if _, ok := fields[strings.ToLower(f.name)]; ok {
			return ConnectionString{}, &ConfigError{Field: f.name, Problem: f.problem}
		}
	}
	return newConnectionString(fields)
}

func newConnectionString(fields map[string]string) (ConnectionString, error) {
	for _, name := range []string{fieldHostName, fieldKeyName, fieldKey} {
		if fields[strings.ToLower(name)] == "" {
			return ConnectionString{}, &ConfigError{Field: name, Problem: "is missing or empty"}
		}
	}
	c := ConnectionString{
		HostName:            fields[strings.ToLower(fieldHostName)],
		SharedAccessKeyName: fields[strings.ToLower(fieldKeyName)],
	}
	if !allowlist.IsHostName(c.HostName) {
		return ConnectionString{}, &ConfigError{Field: fieldHostName, Problem: "must be a host name without scheme, port or path"}
	}
	key, err := base64.StdEncoding.DecodeString(fields[strings.ToLower(fieldKey)])
	if err != nil {
		return ConnectionString{}, &ConfigError{Field: fieldKey, Problem: "is not base64"}
	}
	c.key = newSecret(key)
	return c, nil
}

// splitFields returns the fields of name=value;name=value by lower-case name. Values may contain '='.
func splitFields(s string) (map[string]string, error) {
	fields := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimSpace(s), ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok {
			return nil, &ConfigError{Field: "connection string", Problem: "has a part without '='"}
		}
		if _, ok := fields[name]; ok {
			return nil, &ConfigError{Field: "connection string", Problem: "has a field twice"}
		}
		fields[name] = strings.TrimSpace(value)
	}
	return fields, nil
}

// Equal reports whether both name the same hub, policy and key. It takes the same time wherever keys differ.
func (c ConnectionString) Equal(other ConnectionString) bool {
	return c.HostName == other.HostName && c.SharedAccessKeyName == other.SharedAccessKeyName && c.key.equal(other.key)
}

// String is the connection string without its key.
func (c ConnectionString) String() string {
	return fmt.Sprintf("%s=%s;%s=%s;%s=%s", fieldHostName, c.HostName, fieldKeyName, c.SharedAccessKeyName, fieldKey, redact.Placeholder)
}

// GoString is String: %#v prints no key either.
func (c ConnectionString) GoString() string { return c.String() }

// ConfigError says which setting of a hub is unusable. It is Terminal: only the user can correct it.
type ConfigError struct{ Field, Problem string }

func (e *ConfigError) Error() string { return e.Field + " " + e.Problem }
