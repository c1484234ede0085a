package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/fault"
)

// runConfig is what `run` needs.
type runConfig struct {
	// serviceAccount is NAMESPACE/NAME.
	serviceAccount string
	// via is the way the program gets its role; empty is the webhook's choice.
	via string
	// manifests are files with service accounts for the plane that is started
	// when none is running.
	manifests []string
	// program and its arguments.
	program []string
}

// NewRun returns the command that runs a program as a pod would run.
func NewRun(sys cli.System) *cobra.Command {
	var config runConfig
	cmd := &cobra.Command{
		Use:   "run --service-account NAMESPACE/NAME [--via irsa|pod-identity] [-f FILE]... -- PROGRAM [ARGUMENT]...",
		Short: "Run a program as a service account's pod would see AWS",
		Long: `Run a program on this machine with the environment, token file and AWS endpoint
that a pod of the service account would have: the webhook injects, the issuer
signs the token, the AWS SDK or CLI in the program does the rest. An account with
an association gets its role by Pod Identity, from an agent and a broker, else by
web identity; --via chooses. It uses the plane that "rolecall up" left running, or
starts one for as long as the program runs: then the reason of each refusal, which AWS
hides, is printed to standard error; else "rolecall why" shows it.

Signals are the program's, as below env: what a terminal sends, it gets; a termination
or hang-up of this process is passed on, and without a terminal an interrupt too. Exits
with the program's code, 128 and the signal's number if one ended it, 126 if it cannot be
executed, 127 if there is none.`,
		Example: `  rolecall run --service-account default/s3-reader -- aws sts get-caller-identity
  rolecall run --service-account default/s3-reader -- aws s3 ls
  rolecall run --service-account default/s3-reader --via pod-identity -- aws sts get-caller-identity`,
		RunE: func(cmd *cobra.Command, args []string) error {
			config.program = args
			if err := config.validate(); err != nil {
				return err
			}
			err := config.run(cmd.Context(), sys)
			if _, exited := cli.AsExit(err); err == nil || exited {
				return err
			}
			return cmp.Or(cli.InterruptOf(cmd.Context()), err)
		},
	}
	cmd.Flags().StringVar(&config.serviceAccount, "service-account", "", "the service account, NAMESPACE/NAME")
	cmd.Flags().StringVar(&config.via, "via", "", "irsa or pod-identity; what the webhook would choose if empty")
	cli.CompleteFlag(cmd, "via", string(plane.ViaIRSA), string(plane.ViaPodIdentity))
	_ = cmd.RegisterFlagCompletionFunc("service-account", cli.CompleteFound(config.accounts(sys)))
	cmd.Flags().StringArrayVarP(&config.manifests, "filename", "f", nil,
		"Kubernetes manifests with more service accounts and associations, if a plane must be started")
	cli.CompleteFiles(cmd, "filename", "yaml", "yml", "json")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// accounts are the service accounts of the running plane, or those that one would know
// which is started for the program.
func (c *runConfig) accounts(sys cli.System) cli.Candidates {
	return func(ctx context.Context, _ []string, _ string) ([]string, error) {
		endpoints, err := plane.Running(ctx, sys.Getenv)
		if err != nil {
			return nil, err
		}
		if endpoints != nil {
			if names, err := plane.NewClient(endpoints).ServiceAccounts(ctx); err == nil {
				return names, nil
			}
		}
		return plane.ServiceAccounts(c.manifests)
	}
}

func (c *runConfig) validate() error {
	namespace, name, ok := strings.Cut(c.serviceAccount, "/")
	switch {
	case c.serviceAccount == "":
		return fault.New(fault.Usage, "no service account given").
			Hint("add --service-account NAMESPACE/NAME, for example default/s3-reader")
	case !ok || namespace == "" || name == "" || strings.Contains(name, "/"):
		return fault.New(fault.Usage, "service account %q: want NAMESPACE/NAME", c.serviceAccount).
			Hint("for example default/s3-reader")
	case !slices.Contains([]plane.Via{plane.ViaWebhook, plane.ViaIRSA, plane.ViaPodIdentity}, plane.Via(c.via)):
		return fault.New(fault.Usage, "--via %q: want irsa or pod-identity", c.via).
			Hint("leave it out for what the webhook would choose")
	case len(c.program) == 0:
		return fault.New(fault.Usage, "no program given").
			Hint("put it after --, as in: rolecall run --service-account %s -- aws sts get-caller-identity",
				c.serviceAccount)
	}
	return nil
}

func (c *runConfig) run(ctx context.Context, sys cli.System) error {
	cli.SurviveBrokenPipes()
	log := slog.New(slog.NewTextHandler(sys.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	endpoints, stop, err := c.findOrStartPlane(ctx, sys)
	if err != nil {
		return err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "rolecall-run-")
	if err != nil {
		return fault.New(fault.Unavailable, "make a folder for the token: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	namespace, name, _ := strings.Cut(c.serviceAccount, "/")
	pod, err := plane.MinimalPod(name)
	if err != nil {
		return err
	}
	workload, err := plane.NewClient(endpoints).Prepare(ctx, namespace, pod, dir, plane.Via(c.via))
	if err != nil {
		if fault.KindOf(err) == fault.NotFound && len(fault.HintsOf(err)) == 0 {
			return fault.New(fault.NotFound, "%w", err).
				Hint("declare it in a manifest: rolecall up -f FILE, or rolecall run -f FILE …")
		}
		return err
	}
	// Also after the program was interrupted: a plane that goes on must not keep
	// the pod.
	defer func() {
		if err := workload.Close(context.WithoutCancel(ctx)); err != nil {
			log.Warn("the pod is not deleted; it will be gone when the plane stops", "error", err)
		}
	}()
	for _, warning := range workload.Admission.Warnings {
		fmt.Fprintf(sys.Stderr, "warning: %s\n", warning)
	}
	if workload.Associated() {
		fmt.Fprintf(sys.Stderr,
			"note: service account %s has no association; it has one with the role of its annotation as long as the "+
				"program runs\n", c.serviceAccount)
	}
	if !workload.Admission.Patched {
		fmt.Fprintf(sys.Stderr,
			"warning: service account %s has no role: its pods get no AWS credentials\nhint: annotate it with "+
				"eks.amazonaws.com/role-arn\n", c.serviceAccount)
	}
	return c.start(ctx, sys, log, endpoints, workload, dir)
}

// findOrStartPlane prefers the user's running plane. stop ends what was started
// here.
func (c *runConfig) findOrStartPlane(ctx context.Context, sys cli.System) (*plane.Endpoints, func(), error) {
	endpoints, err := plane.Running(ctx, sys.Getenv)
	if err != nil {
		return nil, nil, err
	}
	if endpoints != nil {
		if len(c.manifests) > 0 {
			return nil, nil, fault.New(fault.Usage, "-f is for a plane of its own, but one is running").
				Hint("give the files to `rolecall up -f FILE`, or stop it")
		}
		return endpoints, func() {}, nil
	}
	started, err := startPlane(ctx, sys, planeOptions{manifests: c.manifests, reasons: true})
	if err != nil {
		return nil, nil, err
	}
	return started.Endpoints(), func() { _ = started.Close() }, nil
}

// Exit codes of programs that did not start, as env and shells have them.
const (
	notExecutable = 126
	notFound      = 127
	afterSignal   = 128
)

// start runs the program to its end, renewing its tokens meanwhile. Only the program
// decides when that is, as it would below env. A terminal sends its signals to the
// program itself; those that are for this process only are passed on, without a terminal all.
func (c *runConfig) start(
	ctx context.Context, sys cli.System, log *slog.Logger, endpoints *plane.Endpoints, workload *plane.Workload,
	dir string,
) error {
	// Of these, the program has those of the terminal anyway.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cli.InterruptOf(ctx); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	//nolint:gosec // running the given program is what this command is for
	program := exec.CommandContext(ctx, c.program[0], c.program[1:]...)
	program.Stdin, program.Stdout, program.Stderr = sys.Stdin, cli.Underlying(sys.Stdout), sys.Stderr
	program.Env = podEnvironment(sys.Environ(), endpoints, workload, dir)
	if errors.Is(program.Err, exec.ErrDot) { // who has this folder on the PATH wants it there
		program.Err = nil
	}
	if err := program.Start(); err != nil {
		return notStarted(c.program[0], sys.Getenv("PATH"), err)
	}
	ended := make(chan error, 1)
	fresh, stopFresh := context.WithCancel(ctx)
	var meanwhile sync.WaitGroup
	meanwhile.Go(func() { workload.KeepFresh(fresh, sys.Now, log) })
	go func() { ended <- program.Wait() }()
	err := passSignals(program.Process, hasTerminal(), signals, ended)
	stopFresh()
	meanwhile.Wait()

	if failed, exited := errors.AsType[*exec.ExitError](err); exited {
		if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return &cli.ExitError{Code: afterSignal + int(status.Signal())} // as a shell says it
		}
		return &cli.ExitError{Code: failed.ExitCode()}
	}
	return err
}

// hasTerminal reports whether there is a terminal whose keys send signals.
func hasTerminal() bool {
	terminal, err := os.Open("/dev/tty")
	if err == nil {
		_ = terminal.Close()
	}
	return err == nil
}

// passSignals passes signals on until the program has ended, and returns how it did. With a
// terminal, an interrupt or a quit is taken for its, which the program has already.
func passSignals(program *os.Process, terminal bool, signals <-chan os.Signal, ended <-chan error) error {
	for {
		select {
		case err := <-ended:
			return err
		case got := <-signals:
			if !terminal || got == syscall.SIGTERM || got == syscall.SIGHUP {
				_ = program.Signal(got) // fails when it has ended
			}
		}
	}
}

// notStarted says why a program did not start, with the code that shells have for it.
func notStarted(program, path string, err error) error {
	if !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
		return &cli.ExitError{Code: notExecutable, Err: fault.New(fault.Denied, "start %s: %w", program, err).
			Hint("chmod +x makes a file executable; a script begins with #! and its interpreter")}
	}
	for _, folder := range filepath.SplitList(path) {
		file := filepath.Join(folder, program)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && !strings.Contains(program, "/") {
			return &cli.ExitError{Code: notExecutable, Err: fault.New(fault.Denied, "start %s: not executable", file).
				Hint("chmod +x %s", file)}
		}
	}
	return &cli.ExitError{
		Code: notFound,
		Err:  fault.New(fault.NotFound, "start %s: %w", program, err).Hint("is it installed and on the PATH?"),
	}
}

// podEnvironment is this process's environment without anything that could
// give the program another AWS identity than the pod's, plus what was injected.
func podEnvironment(own []string, endpoints *plane.Endpoints, workload *plane.Workload, dir string) []string {
	env := slices.DeleteFunc(slices.Clone(own), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "AWS_")
	})
	env = append(env,
		"AWS_ENDPOINT_URL="+endpoints.AWS,
		// The AWS SDK for Go resolves its web-identity credentials before the
		// general endpoint, and honours only the service's own then.
		"AWS_ENDPOINT_URL_STS="+endpoints.AWS,
		"AWS_CONFIG_FILE="+filepath.Join(dir, "no-config"),
		"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(dir, "no-credentials"),
		"AWS_EC2_METADATA_DISABLED=true",
		// The AWS CLI keeps web-identity credentials in the user's home under
		// role and session name only; a name of its own keeps one run from
		// being answered with the credentials of another service account.
		"AWS_ROLE_SESSION_NAME=rolecall-run-"+uuid.NewString()[:8],
	)
	return append(env, workload.Env...)
}
