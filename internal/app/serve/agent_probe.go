package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
)

// probeAnswer bounds what is read of a probe's answer, and probeTimeout how long it may
// take: kubelet's own default is a second.
const (
	probeAnswer  = 4 << 10
	probeTimeout = 900 * time.Millisecond
)

func newAgentProbe(sys cli.System) *cobra.Command {
	socket := ""
	cmd := &cobra.Command{
		Use:   "probe (readyz | healthz)",
		Short: "Ask the agent of this container whether it is ready, or alive",
		Long: `Ask the agent that listens on --probe-socket, and fail unless it is ready, or alive. It is
for the exec probes of a pod: during an update with --reuse-port two agents share the
probe port of the node, so that either of them may answer there for the other; a socket
in a volume of the pod belongs to one.`,
		Example:   "  rolecall serve agent probe readyz --probe-socket /run/rolecall/probe.sock",
		ValidArgs: []string{"readyz", "healthz"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 1 || (args[0] != "readyz" && args[0] != "healthz"):
				return cli.Usage("probe %q: want readyz or healthz", strings.Join(args, " "))
			case socket == "":
				return cli.Usage("no socket to ask at").
					Hint("add --probe-socket PATH, with the value that the agent has")
			}
			return probe(cmd.Context(), socket, args[0], sys.Stdout)
		},
	}
	cmd.Flags().StringVar(&socket, "probe-socket", "", "Unix socket that the agent was told to listen on")
	cli.CompleteFiles(cmd, "probe-socket")
	return cmd
}

// probe asks an agent at its socket, and says what it says.
func probe(ctx context.Context, socket, path string, out io.Writer) error {
	client := http.Client{Timeout: probeTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/"+path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fault.New(fault.Unavailable, "no agent answers on %s: %w", socket, errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, probeAnswer))
	if err != nil || response.StatusCode != http.StatusOK {
		return fault.New(fault.Unavailable, "%s: status %d: %s", path, response.StatusCode, strings.TrimSpace(string(text)))
	}
	_, err = out.Write(append(text, '\n'))
	return err
}

// listenProbes opens a socket for the probes of one agent, in a folder that it has to
// itself, as a volume of its pod. One that the agent before it in the same pod left behind
// is replaced.
func listenProbes(ctx context.Context, path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fault.New(fault.Unavailable, "inspect the socket of the probes: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return nil, fault.New(fault.Conflict, "%s exists and is not a socket", path).
			Hint("choose another --probe-socket, or remove it yourself")
	default:
		connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
		if err == nil {
			_ = connection.Close()
			return nil, fault.New(fault.Conflict, "another agent listens on %s", path).
				Hint("give each agent a --probe-socket of its own, in a volume of its pod")
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fault.New(fault.Unavailable, "check whether an agent listens on %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fault.New(fault.Unavailable, "remove the socket of an agent that has ended: %w", err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen on the socket of the probes: %w", err).
			Hint("--probe-socket is a path in a folder that exists, such as an emptyDir of the pod")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fault.New(fault.Unavailable, "restrict the socket of the probes: %w", err), listener.Close())
	}
	return listener, nil
}
