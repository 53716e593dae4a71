package entra

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
)

// Audience of the assertions that Microsoft Entra ID exchanges, unless a federated credential says otherwise.
const Audience = "api://AzureADTokenExchange"

// EventHubsScope is the same in all clouds ("Authorize access to Event Hubs resources using Microsoft Entra ID"). azeventhubs asks for it with two slashes.
const EventHubsScope = "https://eventhubs.azure.net//.default"

// sovereign clouds, by the suffix of their hubs. Microsoft's service SDKs know a scope of its own for the US Government cloud only.
var sovereign = []struct{ suffix, authority, hubScope string }{
	{".azure-devices.us", cloud.AzureGovernment.ActiveDirectoryAuthorityHost, "https://iothubs.azure.us/.default"},
	{".azure-devices.cn", cloud.AzureChina.ActiveDirectoryAuthorityHost, publicScope},
}

const publicScope = "https://iothubs.azure.net/.default"

// AuthorityOf is the https://host that tokens for a hub come from.
func AuthorityOf(hubHost string) string {
	for _, c := range sovereign {
		if strings.HasSuffix(strings.ToLower(hubHost), c.suffix) {
			return strings.TrimSuffix(c.authority, "/")
		}
	}
	return strings.TrimSuffix(cloud.AzurePublic.ActiveDirectoryAuthorityHost, "/")
}

// HubScope is what a token for a hub is asked for.
func HubScope(hubHost string) string {
	for _, c := range sovereign {
		if strings.HasSuffix(strings.ToLower(hubHost), c.suffix) {
			return c.hubScope
		}
	}
	return publicScope
}

// Check refuses what an assertion must not be sent to, anything but https://host[:port], and a bundle without certificates.
func Check(authority string, caBundle []byte) error {
	host, err := hostOf(authority)
	if err == nil {
		_, err = newTransport(host, caBundle)
	}
	return err
}

func hostOf(authority string) (string, error) {
	u, err := url.Parse(authority)
	if err != nil { // its text repeats the URL, which may hold a password
		return "", errors.New("the authority is not a URL, expected https://host[:port]")
	}
	bare := u.User == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == "" && u.Opaque == ""
	if u.Scheme != "https" || u.Hostname() == "" || !bare {
		return "", fmt.Errorf("the authority %q is not of the form https://host[:port]", u.Redacted())
	}
	return u.Host, nil
}
