#!/usr/bin/env bash
# Fails if generated files differ from what is committed, or if a file is untracked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
changes=$(git status --porcelain)
if [[ -n $changes ]]; then
	printf 'verify: the tree is not what is committed; run make generate and commit:\n%s\n' "$changes" >&2
	git --no-pager diff >&2
	exit 1
fi
echo "verify: clean"
