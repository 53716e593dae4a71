package dtdl

import "strings"

// RepositoryPath returns the path of an interface in a models repository:
// "dtmi/com/example/thermostat-1.json" for dtmi:com:example:Thermostat;1. It returns false for a DTMI
// no repository can hold, such as a DTMI without a version. Source: the conventions of the Azure
// device models repository.
func RepositoryPath(dtmi string) (string, bool) {
	if !validDTMI(dtmi, oldestVersion) || len(dtmi) > MaxInterfaceID {
		return "", false
	}
	return strings.NewReplacer(":", "/", ";", "-").Replace(strings.ToLower(dtmi)) + ".json", true
}
