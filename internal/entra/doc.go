// Package entra gets tokens of Microsoft Entra ID for a workload identity: an assertion, which somebody else makes, is exchanged for an access token at the
// authority of the hub's cloud and at no other host. Tokens and assertions are never printed.
package entra
