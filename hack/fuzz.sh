#!/usr/bin/env bash
# Runs every fuzz target of the product: as many inputs as given (8000x), or for
# a time (60s). Counts are what tests use: a busy machine makes them slower, while
# a deadline that falls into an input is reported as a failure. Targets are
# listed by the toolchain, so that none is forgotten.
#
# One program for each package, in which only the product's own packages count
# coverage, as `go test -fuzz` would have all of them do: of a program with the
# Kubernetes and AWS clients in it nearly everything is theirs, and looking at
# their counters after each input took ten times as long as the input did. It
# would also compile them again, which takes minutes where nothing is cached.
set -euo pipefail
cd "$(dirname "$0")/.."
amount=${1:-8000x}
module=$(go list -m)
corpus=$(go env GOCACHE)/fuzz # where go test -fuzz keeps what it found, and go clean -fuzzcache looks
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
count=0

# fuzz runs one target in its package's folder, where a failing input is written.
fuzz() {
  local program=$1 package=$2 folder=$3 target=$4 said=$programs/said
  echo "fuzz $package $target for $amount"
  mkdir -p "$corpus/$package"
  if ! (cd "$folder" && "$program" -test.paniconexit0 -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$amount" \
    -test.fuzzminimizetime 200x -test.fuzzcachedir "$corpus/$package") >"$said" 2>&1; then
    cat "$said" >&2
    exit 1
  fi
  # Without counters, or without the target, it would pass just as well.
  if grep -q 'warning' "$said" || ! grep -q 'now fuzzing with' "$said"; then
    cat "$said" >&2
    echo "$package $target was not fuzzed" >&2
    exit 1
  fi
  grep 'execs: ' "$said" | tail -1
}

go list -f '{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}} {{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}} {{.}}{{"\n"}}{{end}}' ./... >"$programs/files"
while read -r package folder file; do
  if [ -n "$file" ] && grep -q '^func Fuzz' "$folder/$file"; then echo "$package $folder"; fi
done <"$programs/files" | sort -u >"$programs/packages"
while read -r package folder; do
  program=$programs/test
  go test -c -gcflags="$module/...=-d=libfuzzer" -o "$program" "$package"
  "$program" -test.list '^Fuzz' >"$programs/targets"
  [ -s "$programs/targets" ] || { echo "$package has fuzz targets, and lists none" >&2; exit 1; }
  while read -r target; do
    fuzz "$program" "$package" "$folder" "$target" </dev/null
    count=$((count + 1))
  done <"$programs/targets"
done <"$programs/packages"
[ "$count" -ge 7 ] || { echo "only $count fuzz targets found" >&2; exit 1; }
echo "$count fuzz targets held"
