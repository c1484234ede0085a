//go:build !linux

package app

import "runtime/debug"

// trim gives back the memory that only past work needed.
func trim() { debug.FreeOSMemory() }
