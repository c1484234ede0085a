package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/rolecall/rolecall/internal/agreement"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/planefile"
	"github.com/rolecall/rolecall/internal/startheap"
)

// runner is what every server runs on: what it logs to and counts in, the parts that run
// beside each other until one of them fails or the process is told to stop, what has to be
// true before it is ready, and what is closed at the end.
//
// A server's file makes its parts and adds them, starting none; run starts them together.
type runner struct {
	log      *slog.Logger
	registry *prometheus.Registry
	// delay is how long the parts go on after the process was told to stop, no longer ready:
	// for those who do not know that yet.
	delay time.Duration

	parts    []func(context.Context) error
	still    sync.Mutex // guards watches
	watches  []*follow.Watch
	ready    []func(context.Context) error
	leaving  []func()
	closers  []io.Closer
	draining chan struct{} // closed when told to stop
}

// klogOnce: what client-go says without a context goes where the rest is, in its form; a process
// has one server, and klog one logger.
var klogOnce sync.Once

func newRunner(log *slog.Logger) *runner {
	startheap.Normal()
	klogOnce.Do(func() { klog.SetLogger(logr.FromSlogHandler(log.Handler())) })
	return &runner{log: log, registry: obs.NewRegistry(), draining: make(chan struct{})}
}

// add adds a part. It runs until its context is done; an error ends all parts.
func (r *runner) add(part func(context.Context) error) { r.parts = append(r.parts, part) }

// addServer adds a server on a listener that is open already.
func (r *runner) addServer(server httpserve.Server, listener net.Listener) {
	server.Log = r.log
	r.add(func(ctx context.Context) error { return server.Serve(ctx, listener) })
}

// check adds what has to be true before the server is ready; its error is what /readyz
// answers with.
func (r *runner) check(ready func(context.Context) error) { r.ready = append(r.ready, ready) }

// needs makes readiness wait for something that is read once.
func (r *runner) needs(what string, synced <-chan struct{}) {
	r.check(func(context.Context) error {
		select {
		case <-synced:
			return nil
		default:
			return errors.New(what + " are not read yet")
		}
	})
}

// watching adds watches of the cluster: a metric says when the API server was last heard by
// each, and /readyz which of them stand still.
func (r *runner) watching(watches ...*follow.Watch) {
	for _, watch := range watches {
		r.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "rolecall_watch_age_seconds",
			Help:        "Time since the API server last confirmed what a watch brought; above 60 it is asked each time.",
			ConstLabels: prometheus.Labels{"watch": watch.Name()},
		}, func() float64 { return watch.Age().Seconds() }))
	}
	r.still.Lock()
	defer r.still.Unlock()
	r.watches = append(r.watches, watches...)
}

// standstill says which of them stand still.
func (r *runner) standstill() string {
	r.still.Lock()
	defer r.still.Unlock()
	return follow.Standstill(r.watches)
}

// servingSecret is the Secret with the serving certificate, among watches.
const servingSecret = "the serving certificate's Secret"

// whenTold adds what is done first when the process is told to stop.
func (r *runner) whenTold(leave func()) { r.leaving = append(r.leaving, leave) }

// close closes something at the end, also when the parts never started.
func (r *runner) close(one io.Closer) { r.closers = append(r.closers, one) }

// listen opens a listener that others can reach, as API servers, nodes and Prometheus
// must. It is closed at the end if no server takes it.
func (r *runner) listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := httpserve.Listen(ctx, address, true, "")
	if err != nil {
		return nil, err
	}
	r.close(closeOnce{listener})
	return listener, nil
}

// listening is a server and the address, HOST:PORT, where it is to listen.
type listening struct {
	address string
	server  httpserve.Server
}

// listenAll opens all addresses, or none, and adds the servers.
func (r *runner) listenAll(ctx context.Context, all []listening) error {
	for _, one := range all {
		listener, err := r.listen(ctx, one.address)
		if err != nil {
			return err
		}
		r.addServer(one.server, listener)
	}
	return nil
}

// closeOnce is a listener that its server may have closed already.
type closeOnce struct{ net.Listener }

// Close closes the listener; that it is closed already is no error.
func (c closeOnce) Close() error {
	if err := c.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// closeFunc is a function that is called at the end.
type closeFunc func() error

// Close calls it.
func (c closeFunc) Close() error { return c() }

// agree compares the role with the plane that the others of the cluster have. One that differs
// says so when it starts, and a metric counts it; nobody ends or waits because of it.
func (r *runner) agree(role string, plane *planefile.Plane, client kubernetes.Interface) {
	member := &agreement.Member{
		Role: role, Plane: plane, ConfigMaps: client.CoreV1().ConfigMaps(planeNamespace), Silent: role == roleAgent,
		Log: r.log, Disagreements: agreement.NewGauge(),
	}
	r.registry.MustRegister(member.Disagreements)
	r.add(member.Run)
}

// Names of roles in what they say to each other.
const (
	roleAgent      = "agent"
	roleBroker     = "broker"
	roleController = "controller"
	roleWebhook    = "webhook"
)

// planeNamespace is where roles say what they go by; the namespace of the chart.
const planeNamespace = "rolecall-system"

// probes adds /healthz and /readyz to routes.
func (r *runner) probes(routes *http.ServeMux) {
	handleProbes(routes, r.standstill, func(ctx context.Context) error {
		select {
		case <-r.draining:
			return errors.New("draining")
		default:
		}
		for _, ready := range r.ready {
			if err := ready(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// metrics adds /metrics to routes.
func (r *runner) metrics(routes *http.ServeMux) {
	routes.Handle("GET /metrics", obs.MetricsHandler(r.registry))
}

// run makes the parts, starts them, and waits for their end, ctx's and the delay. What
// was to be closed is closed, also if making fails half way.
func (r *runner) run(ctx context.Context, makeParts func(context.Context) error) (err error) {
	// What follows the API server logs where the rest is.
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(r.log.Handler()))
	defer func() {
		for _, closer := range slices.Backward(r.closers) {
			err = errors.Join(err, closer.Close())
		}
	}()
	if err := makeParts(ctx); err != nil {
		return err
	}
	return serveUntilTold(ctx, r.delay, r.leave, r.parts)
}

func (r *runner) leave() {
	close(r.draining)
	for _, leave := range r.leaving {
		leave()
	}
}

// serveUntilTold runs all parts until ctx is done or one of them fails. When ctx is
// done, leaving is called first, which makes the process not ready, and the parts
// go on for the delay.
func serveUntilTold(
	ctx context.Context, delay time.Duration, leaving func(), parts []func(context.Context) error,
) error {
	told := ctx
	group, ctx := errgroup.WithContext(context.WithoutCancel(ctx)) // the delay outlives what asked for it
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error {
		select {
		case <-told.Done():
			leaving()
			wait(ctx, delay)
		case <-ctx.Done():
		}
		stop()
		return nil
	})
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	return group.Wait()
}

func wait(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// readyTimeout is below a kubelet's default for probes.
const readyTimeout = 900 * time.Millisecond

// handleProbes answers /healthz while the process runs, and /readyz with the first
// check that fails, or with ok and what is to be said beside that.
func handleProbes(mux *http.ServeMux, remark func() string, ready ...func(context.Context) error) {
	answer := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text+"\n")
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		for _, check := range ready {
			if err := check(ctx); err != nil {
				answer(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		text := "ok"
		if said := remark(); said != "" {
			text += "\n" + said
		}
		answer(w, http.StatusOK, text)
	})
}
