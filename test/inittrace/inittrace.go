// Package inittrace reads what a Go program's packages cost before its main.
//
// It judges nothing. Bytes and allocations are the same in each run of a program,
// but for a few; times are not.
package inittrace

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Package is what the initialisation of one package took.
type Package struct {
	Path         string
	Bytes        int64
	Allocations  int64
	Milliseconds float64
}

// Run runs a program to its end. Packages are in the order of their initialisation.
func Run(cmd *exec.Cmd) ([]Package, error) {
	var trace bytes.Buffer
	cmd.Env = append(cmd.Environ(), "GODEBUG=inittrace=1")
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd.Path, err, trace.String())
	}
	var all []Package
	for line := range strings.Lines(trace.String()) {
		var p Package
		var at float64
		_, err := fmt.Sscanf(
			line, "init %s @%g ms, %g ms clock, %d bytes, %d allocs", &p.Path, &at, &p.Milliseconds, &p.Bytes,
			&p.Allocations,
		)
		if err == nil {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s printed no trace: %w", cmd.Path, os.ErrInvalid)
	}
	return all, nil
}

// Total adds up bytes and allocations.
func Total(all []Package) (size, allocations int64) {
	for _, p := range all {
		size += p.Bytes
		allocations += p.Allocations
	}
	return size, allocations
}
