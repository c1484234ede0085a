// Command compare-agent puts the node agent, a bare handler that writes the same
// bytes, and AWS's agent, if it is on the machine, under the same load, each in a
// process of its own, and prints what each costs: resident memory, requests per
// second of clients that wait, processor time per request, and latencies at a
// fixed rate of clients that do not wait.
//
// Its upstream is a stand-in for EKS Auth that grants everything. It judges
// nothing: on a machine that does other work, the best of several rounds is what
// to look at.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"text/tabwriter"
	"time"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/test/contender"
)

func main() {
	role := os.Getenv("COMPARE_AGENT_ROLE")
	switch role {
	case "agent":
		os.Exit(app.Run(context.Background(), app.NewSystem(), os.Args[1:]))
	case "bare":
		exit(bare(os.Args[1]))
	}
	pods := flag.Int("pods", 110, "how many pods have credentials")
	duration := flag.Duration("for", 3*time.Second, "how long each round lasts")
	rounds := flag.Int("rounds", 3, "how often; the best counts")
	rate := flag.Int("rate", 5000, "requests a second of the clients that do not wait")
	settle := flag.Duration("settle", 35*time.Second, "how long to wait before memory is looked at; ours is "+
		"trimmed half a minute after its start")
	peer := flag.String("peer", "eks-pod-identity-agent", "AWS's agent; it takes a thousand requests a second and "+
		"no more")
	flag.Parse()
	exit(run(context.Background(), *pods, *duration, *rounds, *rate, *settle, *peer))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare-agent:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// agent is a process that answers pods.
type agent struct {
	contender.Process
	port string
	// most is the rate it takes; 0 for any.
	most int
}

func run(
	ctx context.Context, pods int, duration time.Duration, rounds, rate int, settle time.Duration, peer string,
) error {
	upstream := httptest.NewServer(http.HandlerFunc(eksAuth))
	defer upstream.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	own := func(role string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Env = []string{"COMPARE_AGENT_ROLE=" + role}
		return cmd
	}
	ports, err := contender.FreePorts(7)
	if err != nil {
		return err
	}
	agents := []agent{
		{Process: contender.Process{Name: "bare handler", Cmd: own("bare", ports[0])}, port: ports[0]},
		{
			Process: contender.Process{
				Name: "rolecall",
				Cmd: own(
					"agent", "serve", "agent", "-c", "prod", "-b", "127.0.0.1", "-p", ports[1], "--probe-port",
					ports[2], "--metrics-port", ports[3], "--metrics-address", "127.0.0.1", "--endpoint",
					upstream.URL, "--init=false", "--pod-qps", "1e9", "--pod-burst", "1000000000", "--max-qps",
					"1e9", "-v", "error",
				),
			},
			port: ports[1],
		},
	}
	if path, err := exec.LookPath(peer); err == nil {
		agents = append(agents, agent{
			most: 900,
			port: ports[4],
			Process: contender.Process{
				Name: "AWS's agent",
				Cmd: exec.CommandContext(
					ctx, path, "server", "-c", "prod", "-b", "127.0.0.1", "-p", ports[4], "--probe-port",
					ports[5], "--metrics-port", ports[6], "--metrics-address", "127.0.0.1", "--endpoint",
					upstream.URL,
				),
			},
		})
	} else {
		fmt.Fprintf(os.Stderr, "%s is not on this machine and is left out\n", peer)
	}
	tokens, err := mint(pods)
	if err != nil {
		return err
	}
	results := make([]result, len(agents))
	for _, one := range agents {
		one.Cmd.Env = append(
			one.Cmd.Env, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=AKIANODE", "AWS_SECRET_ACCESS_KEY=node",
			"PATH="+os.Getenv("PATH"),
		)
		if err := one.Start(); err != nil {
			return err
		}
		defer one.Stop()
		if err := warm(one.port, tokens); err != nil {
			return fmt.Errorf("%s: %w", one.Name, err)
		}
	}
	time.Sleep(settle)
	for i, one := range agents {
		results[i].before = one.Memory()
	}
	for range rounds {
		for i, one := range agents { // by turns, so that all meet the same noise
			closed, first := closedLoop(one, tokens, duration)
			open, second := openLoop(one, tokens, duration, rate)
			if err := errors.Join(first, second); err != nil {
				return fmt.Errorf("%s: %w", one.Name, err)
			}
			results[i].best(closed, open)
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "%d pods\tresident MiB (own + file)\tafter load\trequests/s\tto bare\tcpu "+
		"µs/request\tp50 at rate\tp99\n", pods)
	for i, one := range agents {
		r := results[i]
		_, _ = fmt.Fprintf(
			table, "%s\t%s\t%s\t%.0f\t%.0f%%\t%.1f\t%s at %d/s\t%s\n", one.Name, r.before, one.Memory(),
			r.closed.perSecond, 100*r.closed.perSecond/results[0].closed.perSecond, r.closed.cpu, r.open.p50,
			r.open.rate, r.open.p99,
		)
	}
	return table.Flush()
}
