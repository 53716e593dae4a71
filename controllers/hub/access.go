package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/halt"
)

// maxCommand leaves room for the rest of a condition's message and an Event's note, which are a kilobyte at most.
const maxCommand = 850

// identity is who the operator is to the API server, which is who a right has to be granted to.
type identity struct {
	client    client.Client
	namespace string // the operator's

	mu   sync.Mutex
	flag string
}

// subject is the flag of `kubectl create rolebinding` that names the operator. Every authenticated user may ask for it.
func (i *identity) subject(ctx context.Context) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.flag != "" {
		return i.flag
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := i.client.Create(ctx, review); err != nil || review.Status.UserInfo.Username == "" {
		return "--serviceaccount=" + i.namespace + ":pnp-operator"
	}
	i.flag = subjectOf(review.Status.UserInfo.Username)
	return i.flag
}

func subjectOf(user string) string {
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		return "--serviceaccount=" + account
	}
	return "--user='" + strings.ReplaceAll(user, "'", `'\''`) + "'"
}

// right is what an IoTHub needs in its namespace.
type right struct {
	verbs, resource string
	names           []string
}

// grantCommand is one line that grants a right to the operator, and that does no harm when it is run again.
func grantCommand(namespace, role, subject string, what right) string {
	const dryRun = " --dry-run=client -o yaml"
	var names strings.Builder
	for _, name := range what.names {
		names.WriteString(" --resource-name=" + name)
	}
	return fmt.Sprintf("(kubectl create role %[2]s -n %[1]s --verb=%[4]s --resource=%[5]s%[6]s"+dryRun+
		" && echo --- && kubectl create rolebinding %[2]s -n %[1]s --role=%[2]s %[3]s"+dryRun+") | kubectl apply -f -",
		namespace, role, subject, what.verbs, what.resource, names.String())
}

// accessDenied says which right is missing and how it is granted.
func (r *IoTHubReconciler) accessDenied(ctx context.Context, hub *v1alpha1.IoTHub, secret types.NamespacedName) *halt.Error {
	message := fmt.Sprintf("The operator may not read Secret %q. Grant it: ", secret.Name)
	command := grantCommand(hub.Namespace, "pnp-operator-hub-"+hub.Name, r.identity.subject(ctx), right{"get,list,watch", "secrets", secretsOf(hub)})
	if len(command) > maxCommand || slices.ContainsFunc(secretsOf(hub), notPlain) {
		command = "kubectl apply -k config/tenant -n " + hub.Namespace
	}
	return halt.Denied(message+command, r.watches.denied(secret, time.Now()))
}

// notPlain keeps out of a command what a shell could take for more than a name. The CRD refuses it as well.
func notPlain(name string) bool { return len(validation.IsDNS1123Subdomain(name)) > 0 }

// goesOn reports whether the session that there is may outlive a right that was withdrawn: it was built from the spec as it is, and the hub accepts it.
func (r *IoTHubReconciler) goesOn(hub *v1alpha1.IoTHub) bool {
	s := r.Hubs.Get(client.ObjectKeyFromObject(hub))
	return s != nil && strings.HasPrefix(s.Fingerprint, settingsOf(hub))
}

// goingOn turns a denial into a verdict on the session that there is: it works, but not for ever.
func goingOn(err error) *halt.Error {
	h, _ := errors.AsType[*halt.Error](err)
	return &halt.Error{After: h.After, Verdict: conditions.Verdict{
		Ready: true, Reason: h.Reason, Message: "Goes on with the credential that was read before, until it changes or the operator restarts. " + h.Message}}
}
