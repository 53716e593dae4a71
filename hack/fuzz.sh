#!/usr/bin/env bash
# Runs every fuzz target for a bounded time. usage: fuzz.sh 20s
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
count=0
while IFS=: read -r file name; do
	echo "fuzz: $name in $(dirname "$file") for $1"
	go test "./$(dirname "$file")" -run='^$' -fuzz="^$name\$" -fuzztime="$1"
	count=$((count + 1))
done < <(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's|^\./||; s|func ||')
[[ $count -gt 0 ]] || { echo "fuzz: no target found" >&2; exit 1; }
echo "fuzz: $count targets ran"
