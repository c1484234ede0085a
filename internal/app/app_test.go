package app_test

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rolecall/rolecall/internal/app"
)

// TestMain lets scripts, kubectl and the program itself run this binary by its names.
func TestMain(m *testing.M) {
	program := func() {
		ctx, stop := app.Interruptible(context.Background())
		defer stop()
		os.Exit(app.Run(ctx, app.NewSystem(), os.Args[1:]))
	}
	testscript.Main(m, map[string]func(){
		"signalled": signalled, "rolecall": program, "kubectl-rolecall": program, "kubectl_complete-rolecall": program,
		"webhook": program, "eks-pod-identity-agent": program, "go-runner": program,
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// A plane of the script's own, whatever the user has running.
			env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
			return nil
		},
	})
}
