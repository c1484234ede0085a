package local

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/startheap"
)

// planeOptions is what `demo`, `up` and `run` choose about the plane they
// start.
type planeOptions struct {
	// awsAddress is where local AWS listens; empty means any free port.
	awsAddress string
	manifests  []string
	dataDir    string
	salvage    bool
	verbose    bool
	explain    bool
	// stsErrors are the words of local AWS's STS; empty means current.
	stsErrors string
}

func startPlane(ctx context.Context, sys cli.System, options planeOptions) (*plane.Plane, error) {
	startheap.Normal()
	words, err := flags.ParseSTSErrors(cmp.Or(options.stsErrors, "current"))
	if err != nil {
		return nil, err
	}
	level := slog.LevelError
	if options.verbose {
		level = slog.LevelInfo
	}
	if options.awsAddress == "" {
		options.awsAddress = "127.0.0.1:0"
	}
	return plane.Start(ctx, plane.Config{
		AWSAddress: options.awsAddress,
		Manifests:  options.manifests,
		DataDir:    options.dataDir,
		Now:        sys.Now,
		Explain:    flags.Explainer(sys.Stderr, options.explain),
		STSErrors:  words,
		Log:        slog.New(slog.NewTextHandler(sys.Stderr, &slog.HandlerOptions{Level: level})),
	})
}
