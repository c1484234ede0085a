// Command compare-start says what it costs to start rolecall, beside
// aws-iam-authenticator if that is on the machine: wall and processor time and the
// peak of resident memory of whole processes that print their version, which is
// what kubectl pays for each call of a credential plugin, and the size of the files.
// Then, which packages allocate most before main, and which modules the file
// consists of.
//
// It fails if the file is larger than -most MB; the rest it does not judge: on a
// machine that does other work, look at medians of one run. Memory and processor
// time are the kernel's count and known on Linux only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	var c comparison
	flag.StringVar(&c.binary, "binary", "bin/release/rolecall", "the program, as `make release-binary` builds it")
	flag.StringVar(&c.symbols, "symbols", "", "the same program with symbols, for the list of modules")
	flag.StringVar(&c.peer, "peer", "aws-iam-authenticator", "AWS's program, built with the same flags")
	flag.IntVar(&c.rounds, "rounds", 30, "how often each is started, in turn")
	flag.IntVar(&c.top, "top", 10, "how long the lists are")
	flag.Float64Var(&c.most, "most", 70, "MB that the program may have")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare-start:", err)
		os.Exit(1)
	}
}

type comparison struct {
	binary, symbols, peer string

	rounds, top int
	most        float64
}

// program is one of the compared, and what its runs cost.
type program struct {
	name, path string
	bytes      int64
	wall, cpu  []time.Duration
	peak       []int64 // KiB
}

func (c *comparison) run(ctx context.Context) error {
	if c.rounds < 1 || c.top < 1 {
		return fmt.Errorf("-rounds and -top are at least 1")
	}
	dir, err := os.MkdirTemp("", "compare-start")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs := []*program{{name: "rolecall", path: c.binary}}
	if found, err := exec.LookPath(c.peer); err == nil {
		programs = append(programs, &program{name: filepath.Base(c.peer), path: found})
	} else {
		fmt.Printf("%s is not there: only rolecall is measured\n", c.peer)
	}
	for _, p := range programs {
		if err := p.copyTo(dir); err != nil {
			return err
		}
	}
	for round := range c.rounds + 1 { // by turns, so that all meet the same noise
		for _, p := range programs {
			if err := p.start(ctx, round > 0); err != nil {
				return err
			}
		}
	}
	if err := print(programs); err != nil {
		return err
	}
	if err := c.printInit(ctx, programs[0].path); err != nil {
		return err
	}
	if c.symbols != "" {
		if err := c.printModules(programs[0].bytes); err != nil {
			return err
		}
	}
	if size := megabytes(programs[0].bytes); size > c.most {
		return fmt.Errorf("%s has %.1f MB, more than %.0f", c.binary, size, c.most)
	}
	return nil
}

// copyTo makes files that came to disk in the same way. How the kernel caches a
// file decides how much of it is mapped, and counted, at a page fault. The file is
// not read into this process's memory: a child's peak is never below its parent's.
func (p *program) copyTo(dir string) error {
	from, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	p.path = filepath.Join(dir, p.name)
	to, err := os.OpenFile(p.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700) //nolint:gosec // it is to be started
	if err != nil {
		return err
	}
	p.bytes, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// start runs it to its end; the first run only warms up.
func (p *program) start(ctx context.Context, counts bool) error {
	cmd := exec.CommandContext(ctx, p.path, "version") //nolint:gosec // what is measured is an argument of this program
	before := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s version: %w", p.name, err)
	}
	wall := time.Since(before)
	if !counts {
		return nil
	}
	p.wall = append(p.wall, wall)
	p.cpu = append(p.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.peak = append(p.peak, usage.Maxrss)
	}
	return nil
}

func print(programs []*program) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "median of %d\twall ms\t(least)\tcpu ms\tpeak MiB\tfile MB\n", len(programs[0].wall))
	for _, p := range programs {
		fmt.Fprintf(
			table,
			"%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\n",
			p.name,
			milliseconds(median(p.wall)),
			milliseconds(
				slices.Min(p.wall),
			),
			milliseconds(median(p.cpu)),
			float64(median(p.peak))/1024,
			megabytes(p.bytes),
		)
	}
	return table.Flush()
}

func median[T time.Duration | int64](of []T) T {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func megabytes(n int64) float64 { return float64(n) / 1e6 }
