#!/usr/bin/env bash
# Regenerates deepcopy code, CRDs, the configuration of the webhook and the operator's role from the markers in the Go code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
hack/tools/build.sh controller-gen
bin/tools/controller-gen object paths=./api/...
bin/tools/controller-gen crd:ignoreUnexportedFields=true paths=./api/... output:crd:dir=config/crd/bases
# An atomic object of any JSON values, which no marker can say. With preserve-unknown-fields at the
# object itself /openapi/v2 has no type for it, and tools that go by that, as Argo CD does, take it
# apart. nullable: without it the API server drops a null in silence, and the operator would take
# the key for one that was removed.
sed -E -i '/x-kubernetes-map-type: atomic/{n;s/^( *)x-kubernetes-preserve-unknown-fields: true$/\1additionalProperties:\n\1  nullable: true\n\1  x-kubernetes-preserve-unknown-fields: true/}' config/crd/bases/*.yaml
bin/tools/controller-gen rbac:roleName=pnp-operator paths=./controllers/... paths=./internal/diagnostics/... output:rbac:dir=config/rbac
bin/tools/controller-gen webhook paths=./internal/webhooks/... output:webhook:dir=config/webhook
# No marker can say these defaults. The API server takes rules as a whole: left out, they are a conflict
# for whoever applies the same file as another manager.
sed -E -i 's/^  sideEffects: None$/    scope: Namespaced\n  namespaceSelector: {}\n  objectSelector: {}\n&/; s/^( *)path: \/validate-.*$/&\n\1port: 443/' config/webhook/manifests.yaml
# The chart has the same files.
rm -rf charts/pnp-operator/files
mkdir -p charts/pnp-operator/files/crds
cp config/crd/bases/*.yaml charts/pnp-operator/files/crds/
# No controller reconciles fleets yet, so nothing installs their kinds.
rm charts/pnp-operator/files/crds/*_devicefleet*.yaml
cp config/rbac/role.yaml config/rbac/editor_role.yaml config/rbac/viewer_role.yaml config/rbac/metrics_reader_role.yaml config/prometheus/alerts.yaml charts/pnp-operator/files/
cp config/protection/hub-in-use.yaml config/no-clear/no-clear.yaml config/grafana/dashboard.json charts/pnp-operator/files/
cp config/webhook/manifests.yaml charts/pnp-operator/files/webhook.yaml
