#!/usr/bin/env bash
# Runs every fuzz target of the product: as many inputs as given (8000x), or for
# a time (60s). Counts are what tests use: a busy machine makes them slower, while
# a deadline that falls into an input is reported as a failure. Targets are
# listed by the toolchain, so that none is forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."
amount=${1:-8000x}
count=0
while read -r package; do
  while read -r target; do
    echo "fuzz $package $target for $amount"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$amount" -fuzzminimizetime 200x "$package" | grep -vE '^fuzz: elapsed|^PASS'
    count=$((count + 1))
  done < <(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
[ "$count" -ge 7 ] || { echo "only $count fuzz targets found" >&2; exit 1; }
echo "$count fuzz targets held"
