package local

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/manifest"
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
	// cluster is a real API server too, whose programs are in clusterPrograms.
	cluster         bool
	clusterPrograms string
	// explain prints each refusal of local AWS, reasons those that AWS gives no reason for.
	explain, reasons bool
	// stsErrors are the words of local AWS's STS; empty means current.
	stsErrors string
}

// explainer prints refusals as they happen; nil if none are wanted.
func explainer(sys cli.System, options *planeOptions) func(localaws.Decision) {
	explain := flags.Explainer(sys.Stderr, options.explain || options.reasons)
	if !options.reasons || options.explain {
		return explain
	}
	return func(decision localaws.Decision) {
		if decision.Reason != "" {
			explain(decision)
		}
	}
}

// nothingDeclared warns of files in which nothing is for a plane.
func nothingDeclared(sys cli.System, files []string) error {
	for _, file := range files {
		sources, err := manifest.ReadFiles(file)
		if err != nil {
			return err
		}
		surveys, err := manifest.Look(sources)
		if err != nil {
			return err
		}
		objects, ours := 0, 0
		for _, s := range surveys {
			objects += s.Objects
			ours += s.Accounts + s.Associations
		}
		if ours == 0 {
			fmt.Fprintf(sys.Stderr, "warning: nothing in %s is for the plane: looked at %s in %s, and none is a "+
				"ServiceAccount or a PodIdentityAssociation\n",
				file, count(objects, "object"), count(len(sources), "file"))
		}
	}
	return nil
}

func startPlane(ctx context.Context, sys cli.System, options planeOptions) (*plane.Plane, error) {
	startheap.Normal()
	cli.SurviveBrokenPipes()
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
	if err := nothingDeclared(sys, options.manifests); err != nil {
		return nil, err
	}
	return plane.Start(ctx, plane.Config{
		AWSAddress: options.awsAddress,
		Manifests:  options.manifests,
		DataDir:    options.dataDir,
		Now:        sys.Now,
		Explain:    explainer(sys, &options),
		STSErrors:  words,
		Log:        slog.New(slog.NewTextHandler(sys.Stderr, &slog.HandlerOptions{Level: level})),
	})
}
