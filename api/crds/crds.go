// Package crds holds the CustomResourceDefinitions of package v1alpha1, generated
// by make generate. It is their only copy; it installs nothing by itself.
package crds

import "embed"

// Files are the definitions, one YAML file each.
//
//go:embed *.yaml
var Files embed.FS
