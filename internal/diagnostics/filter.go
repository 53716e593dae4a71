package diagnostics

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorization "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
)

// askWithin bounds what the API server is asked for one request.
const askWithin = 10 * time.Second

// guard lets those through whom the API server knows by their token and allows the path. It remembers nothing, so that a right that is taken away is gone.
type guard struct {
	tokens authentication.TokenReviewInterface
	access authorization.SubjectAccessReviewInterface
}

func guarded(config *rest.Config, httpClient *http.Client) (g guard, err error) {
	tokens, err := authentication.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return g, err
	}
	access, err := authorization.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return g, err
	}
	return guard{tokens.TokenReviews(), access.SubjectAccessReviews()}, nil
}

func (g guard) before(log logr.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askWithin)
		status, err := g.judge(ctx, r)
		cancel()
		if err != nil {
			log.Error(err, "Could not ask the API server who may read metrics and profiles")
		}
		if status != http.StatusOK {
			http.Error(w, http.StatusText(status), status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// judge returns the status to answer with, 200 to go on.
func (g guard) judge(ctx context.Context, r *http.Request) (int, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return http.StatusUnauthorized, nil
	}
	review, err := g.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return http.StatusServiceUnavailable, err
	case !review.Status.Authenticated:
		return http.StatusUnauthorized, nil
	}
	may, err := g.access.Create(ctx, question(review.Status.User, r), metav1.CreateOptions{})
	switch {
	case err != nil:
		return http.StatusServiceUnavailable, err
	case !may.Status.Allowed:
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}

// question is whether the user may do what the request asks for.
func question(user authenticationv1.UserInfo, r *http.Request) *authorizationv1.SubjectAccessReview {
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	return &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: strings.ToLower(r.Method), Path: r.URL.Path},
	}}
}
