#!/usr/bin/env bash
# Draws the pictures of README.md into docs/images: the panels of the dashboard with recorded
# metrics, and the page of a simulator.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for program in chromium prometheus promtool curl; do
	command -v "$program" >/dev/null || {
		echo "pictures: $program is missing: install the Debian packages chromium, prometheus and curl" >&2
		exit 1
	}
done
work=$(mktemp -d)
simulator=
finish() {
	if [[ -n $simulator ]]; then
		kill "$simulator" 2>/dev/null || true
		wait "$simulator" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap finish EXIT

shoot() { # FILE WIDTH HEIGHT ADDRESS
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/chromium" \
		--virtual-time-budget=4000 --window-size="$2,$3" --screenshot="$1" "$4" >"$work/chromium.log" 2>&1 || {
		cat "$work/chromium.log" >&2
		exit 1
	}
	echo "pictures: $1"
}

go test -vet=off -count=1 ./test/dashboard -run '^TestEveryPanelShowsSomething$' -draw="$work/dashboard.html" >/dev/null
shoot docs/images/dashboard.png 1260 722 "file://$work/dashboard.html"

go build -o "$work/iothub-simulator" ./simulator/cmd/iothub-simulator
"$work/iothub-simulator" --devices 6 --seed 7 --env-file "$work/hub.env" >"$work/simulator.log" 2>&1 &
simulator=$!
until [[ -s $work/hub.env ]]; do
	kill -0 "$simulator" 2>/dev/null || {
		cat "$work/simulator.log" >&2
		exit 1
	}
	sleep 0.1
done
page=$(sed -n 's/^SIMULATOR_DEBUG_URL=//p' "$work/hub.env")
post() { curl --silent --show-error --fail --output /dev/null -X "$1" "$page/$2" "${@:3}"; }
post PUT devices/device-0003/behaviour -d '{"kind":"Reject","code":400,"description":"too hot"}'
for number in 0 1 2 3; do
	post POST "devices/device-000$number/desired" -d '{"thermostat1":{"__t":"c","targetTemperature":'"$((40 + number))"'}}'
done
post POST devices/device-0004/offline
post POST faults -d '{"operation":"PatchDigitalTwin","kind":"Status","status":429,"count":5}'
until curl --silent --fail "$page/devices/device-0003/twin" | grep -q "too hot"; do sleep 0.1; done
shoot docs/images/simulator.png 1100 760 "$page/"
