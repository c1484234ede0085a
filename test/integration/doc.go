// Package integration holds tests of several rooms together, against a real
// kube-apiserver. It does not hold code of the product.
package integration
