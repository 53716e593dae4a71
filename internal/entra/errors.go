package entra

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Kind says what went wrong, and so who can mend it.
type Kind string

const (
	// NoAssertion means that there is nothing to exchange, see Error.Err.
	NoAssertion Kind = "NoAssertion"
	// Unreachable means that there was no whole answer.
	Unreachable Kind = "Unreachable"
	// Unreadable means an answer that is not one of Microsoft Entra ID: HTML of a proxy, for example.
	Unreadable Kind = "Unreadable"
	// Failing means that Microsoft Entra ID says so, or that it is busy.
	Failing Kind = "Failing"
	// IssuerUnreachable means that Microsoft Entra ID could not ask the issuer for its keys, which was seen to pass.
	IssuerUnreachable Kind = "IssuerUnreachable"
	// NotFederated means that the identity has no federated credential for the assertion.
	NotFederated Kind = "NotFederated"
	// UnknownClient means that the tenant has no usable application or managed identity with that client ID.
	UnknownClient Kind = "UnknownClient"
	// UnknownTenant means that there is no such tenant in this cloud.
	UnknownTenant Kind = "UnknownTenant"
	// InvalidAssertion means that the signature or the times of the assertion are not believed.
	InvalidAssertion Kind = "InvalidAssertion"
	// Refused means for another reason, see Error.Code.
	Refused Kind = "Refused"
)

// Error is a token that could not be had. It holds neither tokens nor assertions.
type Error struct {
	Kind Kind
	// Status of HTTP, 0 if no answer arrived.
	Status int
	// Code is Microsoft Entra ID's own, such as AADSTS70021, or else the OAuth error, such as invalid_client.
	Code string
	// Issuer of the assertion, "" if none was made.
	Issuer string
	// Err is the failure beneath, nil for an answer of Microsoft Entra ID.
	Err error
}

func (e *Error) Error() string {
	s := "token of Microsoft Entra ID: " + string(e.Kind)
	if e.Status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the failure beneath.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of an *Error, "" of any other.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// IsRefused reports whether Microsoft Entra ID refused, so that a user has to act.
func IsRefused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.refused()
}

func (e *Error) refused() bool {
	switch e.Kind {
	case NoAssertion, Unreachable, Unreadable, Failing, IssuerUnreachable:
		return false
	case NotFederated, UnknownClient, UnknownTenant, InvalidAssertion, Refused:
		return true
	}
	return false
}

// codes of "Microsoft Entra authentication and authorization error codes", and what those mean here that a user can do something about.
var codes = map[int]Kind{
	70021:   NotFederated, // no matching federated identity record
	700211:  NotFederated, // by issuer
	700212:  NotFederated, // by audience
	700213:  NotFederated, // by subject
	7002137: NotFederated,
	7002138: NotFederated, // by the letter case of the subject
	70001:   UnknownClient,
	700016:  UnknownClient, // not found in the directory
	7000112: UnknownClient, // disabled
	7000229: UnknownClient, // no service principal in the tenant
	90002:   UnknownTenant,
	900021:  UnknownTenant,
	900023:  UnknownTenant, // neither a DNS name nor a domain
	50027:   InvalidAssertion,
	700024:  InvalidAssertion, // outside of its times
	700027:  InvalidAssertion, // signature
	7000272: InvalidAssertion, // a key that the issuer does not publish
	50166:   IssuerUnreachable,
	90061:   IssuerUnreachable,
	90033:   Failing, // "a transient error has occurred"
	50196:   Failing, // the same request too often
}

// passing are the OAuth errors that the same request may outlive.
var passing = map[string]bool{"temporarily_unavailable": true, "server_error": true, "slow_down": true}

// refusal is the body of an answer that is no token (RFC 6749, 5.2), with Microsoft's additions.
type refusal struct {
	Error string `json:"error"`
	Codes []int  `json:"error_codes"`
}

// judge classifies an answer that brought no token.
func judge(status int, body []byte) *Error {
	var r refusal
	if json.Unmarshal(body, &r) != nil || r.Error == "" {
		if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
			return &Error{Kind: Failing, Status: status}
		}
		return &Error{Kind: Unreadable, Status: status}
	}
	e := &Error{Kind: Refused, Status: status, Code: plain(r.Error)}
	for _, code := range r.Codes {
		e.Code = fmt.Sprintf("AADSTS%d", code)
		if kind, ok := codes[code]; ok {
			e.Kind = kind
			break
		}
	}
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || passing[r.Error] {
		e.Kind = Failing
	}
	return e
}

// plain keeps of a word from outside what an OAuth error may consist of.
func plain(s string) string {
	const longest = 64
	s = strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), longest)]
}
