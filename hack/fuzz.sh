#!/usr/bin/env bash
# Runs every fuzz target of the product for the given time. Targets are listed
# by the toolchain, so that none is forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-3s}
count=0
while read -r package; do
  while read -r target; do
    echo "fuzz $package $target for $time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1s "$package" | grep -vE '^fuzz: elapsed|^PASS'
    count=$((count + 1))
  done < <(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
[ "$count" -ge 7 ] || { echo "only $count fuzz targets found" >&2; exit 1; }
echo "$count fuzz targets held"
