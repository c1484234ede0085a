// Command compare-token says what a call of a credential plugin costs: rolecall token,
// aws-iam-authenticator token and aws eks get-token, the latter two if they are on the
// machine, with the same keys, without and with a role that a local AWS gives, and with
// what each keeps from call to call. Wall and processor time are of whole processes, by
// turns.
//
// It judges nothing: on a machine that does other work, compare medians of one run.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// seed has a user and a role that trusts it.
const seed = `accounts:
  - id: "111122223333"
    users:
      - name: alice
        accessKeys: [{id: AKIAIOSFODNN7EXAMPLE, secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}]
        inline: {assume: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Resource: "*"}]}}
    roles:
      - name: developer
        trust: {Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/alice"},
          Action: "sts:AssumeRole"}]}
`

const role = "arn:aws:iam::111122223333:role/developer"

func main() {
	var c comparison
	flag.StringVar(&c.binary, "binary", "bin/release/rolecall", "the program, as `make release-binary` builds it")
	flag.StringVar(&c.peer, "peer", "aws-iam-authenticator", "AWS's program, built with the same flags")
	flag.StringVar(&c.cli, "cli", "aws", "the AWS CLI")
	flag.IntVar(&c.rounds, "rounds", 30, "how often each is started, in turn")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare-token:", err)
		os.Exit(1)
	}
}

type comparison struct {
	binary, peer, cli string
	rounds            int
}

// contender is a command line, and what its runs cost.
type contender struct {
	name      string
	words     []string
	wall, cpu []time.Duration
}

func (c *comparison) run(ctx context.Context) error {
	if c.rounds < 1 {
		return errors.New("-rounds is at least 1")
	}
	dir, err := os.MkdirTemp("", "compare-token")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	endpoint, stop, err := c.serve(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	environment := []string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=us-east-1",
		"AWS_DEFAULT_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"AWS_EC2_METADATA_DISABLED=true", "PYENV_ROOT=" + os.Getenv("PYENV_ROOT"),
	}
	all := c.contenders()
	// Some cannot be pointed at a local AWS: aws-iam-authenticator before 0.7 with a role.
	all = slices.DeleteFunc(all, func(one *contender) bool {
		err := one.start(ctx, environment, false)
		if err != nil {
			fmt.Println("not compared:", err)
		}
		return err != nil
	})
	for range c.rounds { // by turns, so that all meet the same noise
		for _, one := range all {
			if err := one.start(ctx, environment, true); err != nil {
				return err
			}
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "median of %d\twall ms\t(least)\tcpu ms\n", c.rounds)
	for _, one := range all {
		fmt.Fprintf(
			table,
			"%s\t%.1f\t%.1f\t%.1f\n",
			one.name,
			median(one.wall),
			milliseconds(slices.Min(one.wall)),
			median(one.cpu),
		)
	}
	return table.Flush()
}

// serve starts a local AWS and returns where it is.
func (c *comparison) serve(ctx context.Context, dir string) (endpoint string, stop func(), err error) {
	file := filepath.Join(dir, "seed.yaml")
	if err := os.WriteFile(file, []byte(seed), 0o600); err != nil {
		return "", nil, err
	}
	//nolint:gosec // what is measured is an argument of this program
	server := exec.CommandContext(
		ctx,
		c.binary,
		"serve",
		"aws",
		"--listen",
		"127.0.0.1:0",
		"--account",
		"111122223333",
		"--seed",
		file,
	)
	out, err := server.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { _ = server.Process.Kill(); _ = server.Wait() }
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, found, ok := strings.Cut(lines.Text(), "AWS_ENDPOINT_URL="); ok {
			return found, stop, nil
		}
	}
	stop()
	return "", nil, errors.New("the local AWS does not start")
}

func (c *comparison) contenders() []*contender {
	ours := []string{c.binary, "token", "--cluster-name", "prod"}
	all := []*contender{
		{name: "rolecall, kept", words: ours},
		{name: "rolecall, new", words: append(slices.Clone(ours), "--cache=false")},
		{name: "rolecall, role, kept", words: append(slices.Clone(ours), "--role-arn", role)},
		{name: "rolecall, role, new", words: append(slices.Clone(ours), "--role-arn", role, "--cache=false")},
	}
	if path, err := exec.LookPath(c.peer); err == nil {
		name, theirs := filepath.Base(c.peer), []string{path, "token", "-i", "prod"}
		all = append(all,
			&contender{name: name, words: theirs},
			&contender{name: name + ", role", words: append(slices.Clone(theirs), "-r", role)},
			&contender{name: name + ", role, kept", words: append(slices.Clone(theirs), "-r", role, "--cache")})
	} else {
		fmt.Printf("%s is not there\n", c.peer)
	}
	if path, err := exec.LookPath(c.cli); err == nil {
		theirs := []string{path, "eks", "get-token", "--cluster-name", "prod"}
		all = append(all,
			&contender{name: "aws eks get-token", words: theirs},
			&contender{name: "aws eks get-token, role", words: append(slices.Clone(theirs), "--role-arn", role)})
	} else {
		fmt.Printf("%s is not there\n", c.cli)
	}
	return all
}

// start runs it to its end.
func (c *contender) start(ctx context.Context, environment []string, counts bool) error {
	cmd := exec.CommandContext(
		ctx,
		c.words[0],
		c.words[1:]...) //nolint:gosec // what is measured is an argument of this program
	cmd.Env = environment
	var says strings.Builder
	cmd.Stderr = &says
	before := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", c.name, err, strings.Join(strings.Fields(says.String()), " "))
	}
	if counts {
		c.wall = append(c.wall, time.Since(before))
		c.cpu = append(c.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	return nil
}

func median(of []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return milliseconds(sorted[len(sorted)/2])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
