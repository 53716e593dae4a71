#!/usr/bin/env bash
# Regenerates deepcopy code, CRDs, the configuration of the webhook and the operator's role from the markers in the Go code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
hack/tools/build.sh controller-gen
bin/tools/controller-gen object paths=./api/...
bin/tools/controller-gen crd:ignoreUnexportedFields=true paths=./api/... output:crd:dir=config/crd/bases
bin/tools/controller-gen rbac:roleName=pnp-operator paths=./controllers/... paths=./webhooks/... paths=./internal/diagnostics/... output:rbac:dir=config/rbac
bin/tools/controller-gen webhook paths=./webhooks/... output:webhook:dir=config/webhook
# The chart has the same files.
rm -rf charts/pnp-operator/files
mkdir -p charts/pnp-operator/files/crds
cp config/crd/bases/*.yaml charts/pnp-operator/files/crds/
cp config/rbac/role.yaml config/rbac/editor_role.yaml config/rbac/viewer_role.yaml config/rbac/metrics_reader_role.yaml config/prometheus/alerts.yaml charts/pnp-operator/files/
cp config/protection/hub-in-use.yaml config/no-clear/no-clear.yaml config/grafana/dashboard.json charts/pnp-operator/files/
cp config/webhook/manifests.yaml charts/pnp-operator/files/webhook.yaml
