#!/usr/bin/env bash
# Regenerates deepcopy code, CRDs and the operator's role from the markers in the Go code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
hack/tools/build.sh controller-gen
bin/tools/controller-gen object paths=./api/...
bin/tools/controller-gen crd:ignoreUnexportedFields=true paths=./api/... output:crd:dir=config/crd/bases
bin/tools/controller-gen rbac:roleName=pnp-operator paths=./controllers/... output:rbac:dir=config/rbac
