// Command compare-webhook puts the webhook and AWS's webhook, if it is on the
// machine, under the same load, each in a process of its own before the same API
// server, and prints what each costs: resident memory, reviews per second of
// clients that wait, processor time per review, and latencies at a fixed rate.
//
// Both must inject the same into the same pods, or nothing is measured. It judges
// nothing: on a machine that does other work, the best of several rounds is what to
// look at, and reviews per second are also the client's, which shares the machine. A
// webhook that does not reach the fixed rate has the latencies of its queue.
// AWS's webhook listens at all addresses of the machine; it cannot be told another.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/test/contender"
	"github.com/rolecall/rolecall/test/webhookload"
)

// roleVariable says to this program that it is to be our webhook.
const roleVariable = "COMPARE_WEBHOOK_ROLE"

func main() {
	webhookload.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if os.Getenv(roleVariable) != "" {
		os.Exit(app.Run(ctx, app.NewSystem(), os.Args[1:]))
	}
	var c comparison
	flag.IntVar(&c.accounts, "accounts", 1000, "how many service accounts have a role; as many have none")
	flag.IntVar(&c.reviews, "reviews", 10000, "how many reviews each load has")
	flag.IntVar(&c.rate, "rate", 2000, "reviews a second at the fixed rate")
	flag.IntVar(&c.rounds, "rounds", 3, "how often; the best counts")
	flag.DurationVar(&c.settle, "settle", 5*time.Second, "how long to wait before memory is looked at")
	flag.StringVar(&c.peer, "peer", "pod-identity-webhook", "AWS's webhook")
	flag.Parse()
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare-webhook:", err)
		os.Exit(1)
	}
}

type comparison struct {
	accounts, reviews, rate, rounds int

	settle time.Duration
	peer   string
}

// result is the best of all rounds of one webhook with one kind of accounts.
type result struct {
	perSecond, cpu float64
	p50, p99       time.Duration
}

func (c *comparison) run(ctx context.Context) error {
	if c.accounts < 1 || c.reviews < 1 || c.rate < 1 || c.rounds < 1 {
		return fmt.Errorf("-accounts, -reviews, -rate and -rounds are at least 1")
	}
	dir, err := os.MkdirTemp("", "compare-webhook")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	kubeconfig, stop, err := startCluster(ctx, dir, c.accounts)
	if err != nil {
		return err
	}
	defer stop()
	hooks, authority, err := c.webhooks(ctx, dir, kubeconfig)
	if err != nil {
		return err
	}
	for _, one := range hooks {
		if err := one.Start(); err != nil {
			return err
		}
		defer one.Stop()
	}
	pods, err := readPods(c.accounts)
	if err != nil {
		return err
	}
	if err := injectTheSame(ctx, hooks, authority, pods); err != nil {
		return err
	}
	select {
	case <-time.After(c.settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	before := make([]contender.Memory, len(hooks))
	for i, one := range hooks {
		before[i] = one.Memory()
	}
	results := make([][len(kinds)]result, len(hooks))
	for range c.rounds {
		for kind := range kinds {
			for i, one := range hooks { // by turns, so that all meet the same noise
				load := webhookload.Load{URL: one.url, CA: authority, Count: c.reviews, Bodies: pods[kind]}
				if err := c.measure(ctx, one, load, &results[i][kind]); err != nil {
					return fmt.Errorf("%s: %w", one.Name, err)
				}
			}
		}
	}
	return c.print(hooks, before, results)
}

// measure keeps what is better than best.
func (c *comparison) measure(ctx context.Context, one hook, load webhookload.Load, best *result) error {
	cpu := one.CPU()
	closed, err := webhookload.Run(ctx, load)
	if err != nil {
		return err
	}
	cpu = (one.CPU() - cpu) / time.Duration(load.Count+webhookload.Warm)
	load.Rate = c.rate
	open, err := webhookload.Run(ctx, load)
	if err != nil {
		return err
	}
	best.perSecond = max(best.perSecond, closed.PerSecond)
	if micros := float64(cpu.Nanoseconds()) / 1000; best.cpu == 0 || micros < best.cpu {
		best.cpu = micros
	}
	if best.p99 == 0 || open.P99 < best.p99 {
		best.p50, best.p99 = open.P50, open.P99
	}
	return nil
}

func (c *comparison) print(hooks []hook, before []contender.Memory, results [][len(kinds)]result) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%d accounts with a role, %d without\tresident MiB (own + file)\tafter load\treviews of "+
		"pods\treviews/s\tcpu µs/review\tp50 at %d/s\tp99\n", c.accounts, c.accounts, c.rate)
	for i, one := range hooks {
		name, memory := one.Name, fmt.Sprintf("%s\t%s", before[i], one.Memory())
		for kind, r := range results[i] {
			fmt.Fprintf(
				table, "%s\t%s\t%s\t%.0f\t%.0f\t%s\t%s\n", name, memory, kinds[kind], r.perSecond, r.cpu,
				r.p50.Round(time.Microsecond), r.p99.Round(time.Microsecond),
			)
			name, memory = "", "\t"
		}
	}
	return table.Flush()
}
