package dtdl

import "strings"

// RepositoryPath is where a models repository has an interface: "dtmi/com/example/thermostat-1.json" for
// dtmi:com:example:Thermostat;1 (wire.md 8.2). It is false for a DTMI that no repository holds, such as one without a version.
func RepositoryPath(dtmi string) (string, bool) {
	if !validDTMI(dtmi, oldestVersion) || len(dtmi) > MaxInterfaceID {
		return "", false
	}
	return strings.NewReplacer(":", "/", ";", "-").Replace(strings.ToLower(dtmi)) + ".json", true
}
