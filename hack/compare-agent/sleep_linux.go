package main

import (
	"syscall"
	"time"
)

// sleepUntil wakes within some 60 µs; the runtime's own timers wake at whole
// milliseconds when nothing else runs, which would be what is measured.
func sleepUntil(due time.Time) {
	if pause := time.Until(due); pause > 0 {
		rest := syscall.NsecToTimespec(pause.Nanoseconds())
		_ = syscall.Nanosleep(&rest, nil)
	}
}
