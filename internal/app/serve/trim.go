package serve

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	firstTrim  = 30 * time.Second // when the pods of a node have asked once
	trimPeriod = time.Minute
	// heapGrowth is the growth in percent at which the collector runs. The live heap
	// is a few MiB, of which the packages of other roles hold most: with Go's 100 it
	// would be walked several times a second at 5,000 requests a second, and the
	// hundredth answer would wait for it twice as long. What grew is given back by
	// the next trim.
	heapGrowth = 200
)

// staySmall keeps little memory resident, until ctx is done. It costs some
// milliseconds each time.
func staySmall(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
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
