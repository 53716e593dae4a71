package validate

import (
	"fmt"
	"strings"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// named are the objects of a set that others may refer to, of whatever kind and API.
type named map[inNamespace]map[string]bool

type inNamespace struct{ kind, namespace string }

// add notes an object. One that makes a Secret stands for it: tools for Secrets have kinds of their own.
func (n named) add(raw map[string]any) {
	kind, _ := raw["kind"].(string)
	metadata, _ := raw["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	if version, _ := raw["apiVersion"].(string); version != v1alpha1.GroupVersion.String() && version != "v1" {
		if !strings.HasSuffix(kind, "Secret") {
			return
		}
		kind = "other Secret"
	}
	of := inNamespace{kind, namespace}
	if n[of] == nil {
		n[of] = map[string]bool{}
	}
	n[of][name] = true
}

// lacks reports whether the set has objects of a kind in a namespace, and none of a name.
func (n named) lacks(kind, namespace, name string) bool {
	of := n[inNamespace{kind, namespace}]
	isMadeOtherwise := kind == "Secret" && n[inNamespace{"other Secret", namespace}][name]
	return name != "" && len(of) > 0 && !of[name] && !isMadeOtherwise
}

// reference warns of a name that nothing in the set has although it has objects of that kind, as after a
// prefix that kustomize gave objects and not what refers to them.
func (c *checker) reference(m manifest, path, kind, namespace, name string) {
	if c.named.lacks(kind, namespace, name) {
		c.tell(m, true, fmt.Sprintf("%s is %q, and no %s among the manifests has that name: if kustomize renamed it, add the component config/references", path, name, kind))
	}
}

func (c *checker) references() {
	for _, d := range c.devices {
		c.reference(d.manifest, "spec.hubRef.name", "IoTHub", d.object.Namespace, d.object.Spec.HubRef.Name)
	}
	for _, command := range c.commands {
		c.reference(command.manifest, "spec.deviceRef.name", "PnPDevice", command.object.Namespace, command.object.Spec.DeviceRef.Name)
	}
	for _, hub := range c.hubs {
		spec, namespace := &hub.object.Spec, hub.object.Namespace
		if ref := spec.Authentication.ConnectionStringSecretRef; ref != nil {
			c.reference(hub.manifest, "spec.authentication.connectionStringSecretRef.name", "Secret", namespace, ref.Name)
		}
		if identity := spec.Authentication.WorkloadIdentity; identity != nil {
			c.reference(hub.manifest, "spec.authentication.workloadIdentity.serviceAccountName", "ServiceAccount", namespace, identity.ServiceAccountName)
		}
		if spec.Events != nil && spec.Events.ConnectionStringSecretRef != nil {
			c.reference(hub.manifest, "spec.events.connectionStringSecretRef.name", "Secret", namespace, spec.Events.ConnectionStringSecretRef.Name)
		}
	}
}
