#!/usr/bin/env bash
# Adds the license header to Go files and scripts without one.
#
# usage: license-headers.sh [--check]     --check lists such files and fails instead
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
header='Copyright The pnp-operator Authors.
SPDX-License-Identifier: Apache-2.0'
missing=0
while IFS= read -r -d '' file; do
	if head -n 5 "$file" | grep -q 'SPDX-License-Identifier:'; then
		continue
	fi
	missing=1
	if [[ ${1:-} == --check ]]; then
		echo "license: $file has no header: run hack/license-headers.sh" >&2
		continue
	fi
	case $file in
	*.go) { sed 's|^|// |' <<<"$header" && echo && cat "$file"; } >"$file.new" ;;
	*.sh) { head -n 1 "$file" && sed 's|^|# |' <<<"$header" && tail -n +2 "$file"; } >"$file.new" ;;
	esac
	cat "$file.new" >"$file" # keeps the mode
	rm "$file.new"
done < <(git ls-files -z -- '*.go' '*.sh' ':!:**/zz_generated*' ':!:**/testdata/**')
[[ ${1:-} != --check || $missing == 0 ]]
