// Package startheap puts off the first garbage collection until the program has started.
// What the packages of this program allocate before main, about 4 MB and all of it in
// use, is what Go's smallest heap holds: the collector ran twice for nothing, in every
// command, for a tenth of its time. The Go compiler raises its starting heap for the same
// reason.
//
// It does nothing where GOGC is set, and is not for what runs for long: servers return to
// Go's own growth of the heap with Normal.
package startheap

import (
	"os"
	"runtime/debug"
)

const (
	starting = 400 // percent: the first collection at 16 MB
	normal   = 100 // Go's default
)

// chosen says that the user has chosen, by GOGC. Packages are initialised in the order of
// their paths as far as imports allow, so this one comes before those that allocate most.
var chosen = start()

func start() bool {
	if os.Getenv("GOGC") != "" {
		return true
	}
	debug.SetGCPercent(starting)
	return false
}

// Normal lets the heap grow as Go programs' heaps do.
func Normal() {
	if !chosen {
		debug.SetGCPercent(normal)
	}
}
