#!/usr/bin/env bash
# Runs the tests of a real node (test/node, build tag e2e): kubelet, containerd and
# runc of pinned versions, which it builds once into the cache, beside the control
# plane of hack/controlplane.sh. Arguments are for `go test`.
#
# The node has network, mounts and processes of its own (Linux namespaces), whose first
# process is ended with the script, and everything of the node with it. Its folder and
# its cgroups, which such namespaces do not hold, the script removes. Needs root and
# iproute2, and for runc a C compiler and the headers of libseccomp (libseccomp-dev).
set -euo pipefail
containerd=v2.2.1 runc=v1.4.0 cni=v1.9.0

fail() { echo "hack/node.sh: $*" >&2; exit 1; }
[ "$(uname -s)" = Linux ] || fail "a node is a Linux machine"
[ "$(id -u)" = 0 ] || fail "kubelet and containerd need root: run make e2e as root"
for program in unshare setpriv ip; do command -v "$program" >/dev/null || fail "$program is not on this machine"; done

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${ROLECALL_CACHE:-$root/.cache}
control=$("$root/hack/controlplane.sh" node)
programs=$cache/node/containerd-$containerd-runc-$runc-cni-$cni
mkdir -p "$programs"

build() { # VERSION PACKAGE...: to another folder first, so that half a build is never used
  local version=$1 package name new=$programs/.new
  shift
  for package in "$@"; do
    name=$(basename "$package")
    [ -x "$programs/$name" ] && continue
    echo "building $name (once) ..." >&2
    (cd / && GOBIN=$new GOFLAGS=-trimpath go install -tags "netgo,osusergo${tags:-}" -ldflags "-s -w ${extra:-}" \
      "$package@$version")
    mv "$new/$name" "$programs/$name"
  done
}
c=github.com/containerd/containerd/v2/cmd p=github.com/containernetworking/plugins/plugins
CGO_ENABLED=0 build "$containerd" $c/containerd $c/containerd-shim-runc-v2 $c/ctr
CGO_ENABLED=0 build "$cni" $p/main/bridge $p/main/loopback $p/ipam/host-local
# It enters namespaces before Go runs, in C; static, so that it needs no other file.
# containerd gives each pod a seccomp profile, and has no setting for none.
if [ ! -x "$programs/runc" ]; then
  for program in cc pkg-config; do
    command -v $program >/dev/null || fail "$program, for runc, is not on this machine"
  done
  pkg-config --exists libseccomp || fail "the headers of libseccomp, for runc, are not on this machine"
fi
CGO_ENABLED=1 extra="-extldflags=-static" tags=,seccomp build "$runc" github.com/opencontainers/runc

dir=$(mktemp -d "${TMPDIR:-/tmp}/rolecall-node.XXXXXX")
cgroup=$(basename "$dir")
mkdir "$dir/bin"
ln -s "$control"/* "$programs"/* "$dir/bin/"
(cd "$root" && CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w" -o "$dir/bin/" \
  ./cmd/rolecall ./test/node/pod)

hierarchies() { # one, or with cgroups of version 1 many
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; return; fi
  find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
}
for hierarchy in $(hierarchies); do mkdir "$hierarchy/$cgroup"; done

node=
leave() {
  trap - EXIT INT TERM
  # The first process of the namespaces: the kernel ends all others with it.
  if [ -n "$node" ]; then kill -KILL "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; fi
  local hierarchy left
  for hierarchy in $(hierarchies); do
    for _ in $(seq 100); do # the kernel may still be ending processes
      find "$hierarchy/$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      [ -d "$hierarchy/$cgroup" ] || break
      sleep 0.1
    done
  done
  rm -rf "$dir"
  left=$(find /sys/fs/cgroup -maxdepth 2 -name "$cgroup"; ls -d "$dir" 2>/dev/null || true)
  [ -z "$left" ] || fail "left behind: $left"
}
trap leave EXIT
trap 'exit 130' INT TERM

cat >"$dir/first.sh" <<'Y'
set -euo pipefail
mount --make-rshared /
for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$folder"; done
mkdir /run/netns
# Settings of the kernel that are not the node's alone, and that kubelet changes: it
# changes copies.
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  copy=$ROLECALL_NODE_DIR/$(basename "$setting")
  cat "/proc/sys/$setting" >"$copy"
  mount --bind "$copy" "/proc/sys/$setting"
done
hostname n1
# No way out: a link of its own that everything else is behind, as it is on a node.
ip link set lo up
ip link add node0 type bridge
ip address add 10.78.0.1/32 dev node0
ip link set node0 up
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
cd "$1"
shift
"$@"
Y
export ROLECALL_NODE_DIR=$dir ROLECALL_NODE_CGROUP=$cgroup ROLECALL_CACHE=$cache GOPROXY=off
# Whatever ends this script ends the node.
setpriv --pdeathsig KILL \
  unshare --fork --kill-child --pid --mount --net --uts --ipc --mount-proc --propagation private \
  bash "$dir/first.sh" "$root" go test -tags e2e -count=1 -timeout 20m "$@" ./test/node &
node=$!
status=0
wait "$node" || status=$?
exit "$status"
