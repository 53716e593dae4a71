#!/usr/bin/env bash
# Builds a developer tool, at the version that its go.mod in the folder of its name pins. Each tool has its own go.mod, so
# that it is built with the versions of its dependencies that its authors chose.
#
# usage: build.sh TOOL [FOLDER]     TOOL is a folder beside this script, FOLDER is bin/tools unless named
#
# A tool that was built from the same files is not built again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tool=${1:-}
out=${2:-$here/../../bin/tools}
case $tool in
actionlint) package=github.com/rhysd/actionlint/cmd/actionlint ;;
controller-gen) package=sigs.k8s.io/controller-tools/cmd/controller-gen ;;
golangci-lint) package=. pinned=github.com/golangci/golangci-lint/v2/pkg/commands ;; # a main.go adds a linter
kustomize) package=sigs.k8s.io/kustomize/kustomize/v5 ;;
cyclonedx-gomod) package=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod ;;
helm) package=helm.sh/helm/v4/cmd/helm ;;
govulncheck) package=golang.org/x/vuln/cmd/govulncheck ;;
source-controller) package=github.com/fluxcd/source-controller ;;
kustomize-controller) package=github.com/fluxcd/kustomize-controller ;;
argocd) package=github.com/argoproj/argo-cd/v3/cmd ;;
kube-router) package=github.com/cloudnativelabs/kube-router/v2/cmd/kube-router ;;
kube-score) package=github.com/zegl/kube-score/cmd/kube-score ;;
setup-envtest) package=sigs.k8s.io/controller-runtime/tools/setup-envtest ;;
*)
	echo "usage: $0 actionlint|argocd|controller-gen|cyclonedx-gomod|golangci-lint|govulncheck|helm|kube-router|kube-score|kustomize|kustomize-controller|setup-envtest|source-controller [FOLDER]" >&2
	exit 2
	;;
esac
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
cd "$here/$tool"
export CGO_ENABLED=0 GOWORK=off
export GOGC="${GOGC:-400}" # memory for time: a sixth less for the compiler

say() { printf '%s: %s\n' "$tool" "$*"; }

# Says every 15 seconds how long `go build` has run and how many packages it has named in file $1, of $2.
progress() {
	local next=$((SECONDS + 15))
	# Short sleeps with nothing open, for the one that outlives this when it is killed.
	while sleep 1 >/dev/null 2>&1 9>&-; do
		if ((SECONDS >= next)); then
			next=$((SECONDS + 15))
			say "$SECONDS s: compiled $(grep -c '^[^ :]*$' "$1" || true) of at most $2 packages"
		fi
	done
}

# One build of a tool at a time: a second one waits and then finds it up to date.
if command -v flock >/dev/null; then
	exec 9>"$out/.$tool.lock"
	flock 9
fi
mark=$({ go env GOVERSION GOOS GOARCH GOFLAGS && cat ../build.sh go.mod go.sum && find . -name '*.go' -exec cat {} +; } | sha256sum | cut -d' ' -f1)
if [[ -x $out/$tool && -f $out/.$tool.built && $(<"$out/.$tool.built") == "$mark" ]]; then
	exit 0
fi

version=$(go list -f '{{.Module.Version}}' "${pinned:-$package}")
count=$(go list -deps "$package" | wc -l)
say "building $version"
log=$(mktemp)
progress "$log" "$count" &
reporter=$!
# shellcheck disable=SC2064 # the values of now
trap "kill $reporter 2>/dev/null || true; rm -f '$log' '$out/.$tool.new'" EXIT
# The others read their version from what the compiler records.
flags="-s -w -X sigs.k8s.io/kustomize/api/provenance.version=$version"
if ! go build -v -buildvcs=false -ldflags "$flags" -o "$out/.$tool.new" "$package" 2>"$log"; then
	grep -v '^[^ :]*$' "$log" >&2 || true
	say "the build failed after $SECONDS s" >&2
	exit 1
fi
mv "$out/.$tool.new" "$out/$tool"
echo "$mark" >"$out/.$tool.built"
say "built $out/$tool after $SECONDS s"
