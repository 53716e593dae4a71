#!/usr/bin/env bash
# Shows a dot for each package that passes, as soon as `go test` says so, and all that it says of the
# others.
#
# usage: go test ./... | passes.sh
set -euo pipefail
passed=0
while IFS= read -r line; do
	case $line in
	"ok "*)
		passed=$((passed + 1))
		printf .
		;;
	*"[no test files]") ;;
	*) printf '%s\n' "$line" ;;
	esac
done
printf ' %d passed\n' "$passed"
