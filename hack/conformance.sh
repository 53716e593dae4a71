#!/usr/bin/env bash
# Holds the simulator against clients of Microsoft's. Says to it what the Python clients and the Azure CLI say, runs those of Debian
# (python3-azure, python3-uamqp) where they are installed, and runs the tests that Microsoft ships with azeventhubs, the live ones too.
# PNP_REQUIRE_PYTHON=1 makes a missing client a failure. With the argument "python" the last part is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
module=github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2
version=v2.0.2
least=27 # live tests that have to run
# Left out: those that want Blob Storage, and one that wants Azure's management API.
without='TestProcessor_|Detaches'

least_python=15 # checks that have to pass
least_clients=6  # of Debian's clients, where there are any

unset AZURE_RECORD_MODE # the SDK's fake credential is meant

fail() { echo "conformance: $*" >&2; exit 1; }

scratch=$(mktemp -d "${TMPDIR:-/tmp}/pnp-conformance.XXXXXX")
server= simulator=
clean() {
	for process in $server $simulator; do
		kill "$process" 2>/dev/null || true
		wait "$process" 2>/dev/null || true
	done
	rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 1' INT TERM

# checks LEAST COMMAND…: runs checks, which print a line each, and counts those that pass.
checks() {
	local least=$1 log=$scratch/checks status=0
	shift
	"$@" >"$log" 2>&1 || status=$?
	grep -E '^(PASS|FAIL|SKIP) ' "$log" || true
	if [[ $status -ne 0 ]]; then
		cat "$log" >&2
		fail "$* failed"
	fi
	[[ $(grep -c '^PASS ' "$log") -ge $least ]] || fail "fewer than $least checks passed"
}

# debians_python: the interpreter that Debian's packages are for, if it has a client.
debians_python() {
	[[ -x /usr/bin/python3 ]] && /usr/bin/python3 -c 'import azure.eventhub, uamqp' 2>/dev/null && echo /usr/bin/python3
}

python_part() {
	command -v python3 >/dev/null || {
		[[ ${PNP_REQUIRE_PYTHON:-} != 1 ]] || fail "there is no python3"
		echo "conformance: there is no python3, so nothing is known of Python's clients"
		return
	}
	go build -o "$scratch/iothub-simulator" ./simulator/cmd/iothub-simulator
	# An address of its own: also that is what is checked.
	"$scratch/iothub-simulator" --listen 127.0.0.9:0 --events-listen 127.0.0.9:0 --mqtt-listen 127.0.0.9:0 \
		--ca-file "$scratch/hub-ca.pem" --env-file "$scratch/hub.env" >"$scratch/simulator.log" 2>&1 &
	simulator=$!
	for _ in $(seq 300); do
		[[ -f $scratch/hub.env ]] && break
		kill -0 "$simulator" 2>/dev/null || { cat "$scratch/simulator.log" >&2; fail "the simulator did not start"; }
		sleep 0.1
	done
	echo "conformance: what Python's clients and the Azure CLI say"
	checks "$least_python" python3 -B test/conformance/python/checks.py "$scratch/hub.env"
	local clients
	if clients=$(debians_python); then
		echo "conformance: Debian's azure-eventhub and uamqp"
		checks "$least_clients" "$clients" -B test/conformance/python/real.py "$scratch/hub.env" require
	elif [[ ${PNP_REQUIRE_PYTHON:-} == 1 ]]; then
		fail "Debian's python3-azure and python3-uamqp are not installed"
	else
		echo "conformance: Debian's python3-azure and python3-uamqp are not installed: their clients are not run"
	fi
}

python_part
[[ ${1:-} != python ]] || exit 0

[[ $(go list -m -f '{{.Version}}' "$module") == "$version" ]] || fail "go.mod no longer names $module $version: look what its new live tests want, then change this script"
go mod download "$module"

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
