package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// audience that assertions have to be for.
const audience = "api://AzureADTokenExchange"

// entraOptions are the flags of the simulated Microsoft Entra ID.
type entraOptions struct {
	listen, keys, caFile string
	applications         []string
}

func (o *entraOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.listen, "entra-listen", "", "address of a Microsoft Entra ID that issues tokens for this hub; empty turns it off")
	flags.StringVar(&o.keys, "entra-keys", "", "file with the key set of the cluster that signs assertions (kubectl get --raw /openid/v1/jwks), read at each exchange")
	flags.StringVar(&o.caFile, "entra-ca-file", "", "write its CA certificate to this file")
	flags.StringArrayVar(&o.applications, "entra-application", nil,
		"an identity with a federated credential, TENANT,CLIENT,ISSUER,SUBJECT: it may use the hub and its events. May be repeated")
}

// start runs the authority, nil if there is to be none.
func (o *entraOptions) start(ctx context.Context, log logr.Logger) (*simulator.Entra, error) {
	if o.listen == "" {
		return nil, nil
	}
	var all []simulator.EntraApplication
	for _, text := range o.applications {
		parts := strings.Split(text, ",")
		if len(parts) != 4 {
			return nil, fmt.Errorf("--entra-application %q: expected TENANT,CLIENT,ISSUER,SUBJECT", text)
		}
		all = append(all, simulator.EntraApplication{
			TenantID: parts[0], ClientID: parts[1], Roles: []string{"IoT Hub Data Contributor", "Azure Event Hubs Data Receiver"},
			Federated: []simulator.Federated{{Issuer: parts[2], Subject: parts[3], Audience: audience}},
		})
	}
	authority, err := simulator.StartEntra(ctx, simulator.EntraOptions{
		Listen: o.listen, CAFile: o.caFile, Logger: log,
		Keys: func(context.Context, string) ([]byte, error) { return os.ReadFile(o.keys) },
	})
	if err != nil {
		return nil, err
	}
	for _, application := range all {
		authority.Register(application)
	}
	return authority, nil
}
