package app

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	firstTrim  = 30 * time.Second // when the pods of a node have asked once
	trimPeriod = 10 * time.Minute
	// smallHeap is the growth in percent at which the collector runs: the live
	// heap is a few MiB, of which the packages of other roles hold most.
	smallHeap = 50
)

// staySmall keeps little memory resident, until ctx is done. It costs some
// milliseconds each time.
func staySmall(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(smallHeap)
	}
	trim()
	for pause := firstTrim; ; pause = trimPeriod {
		select {
		case <-time.After(pause):
			trim()
		case <-ctx.Done():
			return
		}
	}
}
