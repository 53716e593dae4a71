#!/usr/bin/env bash
# Runs the tests that Microsoft ships with azeventhubs, the live ones too, against the simulator's event hub.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
module=github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2
version=v2.0.2
least=27 # live tests that have to run
# Left out: those that want Blob Storage, and one that wants Azure's management API.
without='TestProcessor_|Detaches'

unset AZURE_RECORD_MODE # the SDK's fake credential is meant

fail() { echo "conformance: $*" >&2; exit 1; }

[[ $(go list -m -f '{{.Version}}' "$module") == "$version" ]] || fail "go.mod no longer names $module $version: look what its new live tests want, then change this script"
go mod download "$module"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/pnp-conformance.XXXXXX")
server=
clean() {
	if [[ -n $server ]]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 1' INT TERM

cp -r "$(go list -m -f '{{.Dir}}' "$module")" "$scratch/azeventhubs"
chmod -R u+w "$scratch/azeventhubs"
go build -o "$scratch/conformance" ./hack/conformance

# It ends when its standard input does, even if this script is killed.
coproc SERVER { exec "$scratch/conformance" "$scratch"; }
server=$SERVER_PID
read -r -t 60 ready <&"${SERVER[0]}" && [[ $ready == ready ]] || fail "the event hub did not start"

# tests LOG [VARIABLE=VALUE…]: one package after the other, because both use the same event hub.
tests() {
	local log=$1
	(cd "$scratch/azeventhubs" && go test . ./internal -p 1 -skip "$without" -count=1 -timeout 10m -v) >"$log" 2>&1
}

# results LOG: PASS, FAIL or SKIP and the package and name of every top-level test.
results() {
	awk '/^=== RUN / { next }
		match($0, /--- (PASS|FAIL|SKIP): [^ \/]+ \([0-9.]+s\)$/) && $0 !~ /^ / {
			split(substr($0, RSTART), f, /[: ]+/); name[++n] = f[3]; result[n] = f[2] }
		/^(ok|FAIL)[ \t]+[a-z]+\./ { for (i = 1; i <= n; i++) print result[i], $2 "." name[i]; n = 0 }' "$1" | sort -k2
}

echo "conformance: tests of $module $version without an event hub, to see which skip"
if ! (unset "${!EVENTHUB@}"; tests "$scratch/without.log"); then
	tail -n 60 "$scratch/without.log" >&2
	fail "tests fail without an event hub"
fi
results "$scratch/without.log" | awk '$1 == "SKIP" { print $2 }' >"$scratch/skipped"

echo "conformance: the same with the simulator's"
status=0
# shellcheck disable=SC1091
(source "$scratch/env"; tests "$scratch/with.log") || status=$?
results "$scratch/with.log" >"$scratch/results"

awk -v least="$least" '
	NR == FNR { live[$1]; next }
	{ count[$1]++ }
	$2 in live && $1 != "SKIP" { print $1 "  " $2; ran[$1]++ }
	END {
		printf "conformance: %d top-level tests passed, of which %d live; %d failed, %d skipped\n", count["PASS"], ran["PASS"], count["FAIL"], count["SKIP"]
		if (ran["PASS"] < least) { printf "conformance: fewer than %d live tests passed\n", least; exit 1 }
	}' "$scratch/skipped" "$scratch/results" || status=1
if [[ $status -ne 0 ]]; then
	echo "conformance: the end of what the tests said:" >&2
	grep -vE '^(=== | *--- PASS|[0-9]{4}/[0-9]{2}/[0-9]{2} )' "$scratch/with.log" | tail -n 120 >&2
fi
exit "$status"
