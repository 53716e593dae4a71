package entra

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// refusal is an error as the token endpoint answers it: RFC 6749, 5.2, with numbers and ids.
type refusal struct {
	status int
	oauth  string
	code   int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("AADSTS%d: %s", r.code, r.text) }

func (r *refusal) send(w http.ResponseWriter, now time.Time) {
	trace, correlation, stamp := uuid.NewString(), uuid.NewString(), now.UTC().Format("2006-01-02 15:04:05Z")
	body, err := json.Marshal(map[string]any{
		"error":             r.oauth,
		"error_description": fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s", r.Error(), trace, correlation, stamp),
		"error_codes":       []int{r.code},
		"timestamp":         stamp,
		"trace_id":          trace,
		"correlation_id":    correlation,
		"error_uri":         "https://login.microsoftonline.com/error?code=" + strconv.Itoa(r.code),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(r.status)
	_, _ = w.Write(body) // the client may be gone
}

// What the token endpoint says, by number. Texts are those of reports by users.
func unknownTenant(id string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_tenant", 90002, fmt.Sprintf(
		"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", id)}
}

func unknownClient(id, tenant string) *refusal {
	return &refusal{http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf(
		"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant "+
			"or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", id, tenant)}
}

func notFederated(code int, what, value string) *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", code, fmt.Sprintf(
		"No matching federated identity record found for presented assertion %s '%s'. Check your federated identity credential Subject, Audience and Issuer "+
			"against the presented assertion.", what, value)}
}

func badAssertion(code int, text string) *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", code, text}
}

func unknownResource(scope string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_resource", 500011, fmt.Sprintf("The resource principal named %s was not found in the tenant.", scope)}
}

func badRequest(code int, text string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", code, text}
}
