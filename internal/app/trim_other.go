//go:build !linux

package app

import "runtime/debug"

// trim gives back the memory that only the start of a process needed.
func trim() { debug.FreeOSMemory() }
