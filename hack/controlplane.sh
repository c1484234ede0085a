#!/usr/bin/env bash
# Builds the control plane that integration tests run against - etcd,
# kube-apiserver and kubectl, from the Go modules of test/controlplane - into a folder keyed
# by their versions, once. Prints that folder. With the word "node" it builds what else of
# Kubernetes a node's test needs, too.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/test/controlplane"
version() { go list -m -f '{{.Version}}' "$1"; }
kube=$(version k8s.io/kubernetes)
etcd=$(version go.etcd.io/etcd/server/v3)
dir=${ROLECALL_CACHE:-$root/.cache}/controlplane/$kube-etcd-$etcd
minor=${kube#v1.}
stamp="-X k8s.io/component-base/version.gitVersion=$kube -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
build() { # NAME PACKAGE: to a new name first, so that half a build is never used
  [ -x "$dir/$1" ] && return
  echo "building $1 (once; kube-apiserver takes some minutes) ..." >&2
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w $stamp" -o "$dir/.$1.new" "$2"
  mv "$dir/.$1.new" "$dir/$1"
  echo "built $1" >&2
}
mkdir -p "$dir"
build etcd go.etcd.io/etcd/server/v3
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build kubectl k8s.io/kubernetes/cmd/kubectl
if [ "${1:-}" = node ]; then
  for program in kubelet kube-controller-manager kube-scheduler; do build $program k8s.io/kubernetes/cmd/$program; done
fi
echo "$dir"
