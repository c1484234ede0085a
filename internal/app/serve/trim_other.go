//go:build !linux

package serve

import "runtime/debug"

// trim gives back the memory that only past work needed.
func trim() { debug.FreeOSMemory() }
