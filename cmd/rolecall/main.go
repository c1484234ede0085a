// Command rolecall is the AWS-IAM identity plane for Kubernetes clusters: see
// `rolecall help`. This package only hands the process to internal/app; it
// holds no logic.
package main

import (
	"context"
	"os"

	"github.com/rolecall/rolecall/internal/app"
)

func main() {
	ctx, stop := app.Interruptible(context.Background())
	code := app.Run(ctx, app.NewSystem(), os.Args[1:])
	stop()
	os.Exit(code)
}
