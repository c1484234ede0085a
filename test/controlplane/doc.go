// Package controlplane is the module that etcd and kube-apiserver are built from
// for integration tests. It does not hold code: hack/controlplane.sh builds its
// tools, test/cluster starts them.
package controlplane
