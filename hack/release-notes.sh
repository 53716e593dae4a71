#!/usr/bin/env bash
# Prints what CHANGELOG.md has on a version.
#
# usage: release-notes.sh [VERSION]     VERSION is X.Y.Z, Unreleased if there is none
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${1:-Unreleased}
notes=$(awk -v heading="## [${version#v}]" 'index($0, "## [") == 1 { on = index($0, heading) == 1; next } on' CHANGELOG.md)
if [[ -z ${notes//[[:space:]]/} ]]; then
	echo "release-notes: CHANGELOG.md has nothing on $version" >&2
	exit 1
fi
printf '%s\n' "$notes"
