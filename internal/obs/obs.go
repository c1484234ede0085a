// Package obs makes the loggers and the metrics registry that every server is
// given, and lists the keys that log lines share.
//
// It does not log anything itself and holds no logger of its own.
package obs

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rolecall/rolecall/internal/fault"
)

// Log keys that more than one package uses. Values are never secrets, whole
// objects, header maps or bodies; a token is named by its fingerprint.
const (
	KeyServer         = "server"         // which server of the process
	KeyRequestID      = "requestID"      // the id an AWS answer carries
	KeyAction         = "action"         // service:Action
	KeyPrincipal      = "principal"      // ARN of the caller
	KeyNamespace      = "namespace"      // of the pod or service account
	KeyServiceAccount = "serviceAccount" // name without namespace
	KeyReason         = "reason"         // why the answer was what it was
)

// NewLogger returns a logger that writes text or JSON lines to w. Format is
// "text" or "json"; level one of debug, info, warn, error.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var parsed slog.Level
	if err := parsed.UnmarshalText([]byte(level)); err != nil {
		return nil, fault.New(fault.Usage, "log level %q: want debug, info, warn or error", level)
	}
	options.Level = parsed
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return nil, fault.New(fault.Usage, "log format %q: want text or json", format)
}

// NewRegistry returns a registry with the metrics of the Go runtime and of
// the process.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}

// MetricsHandler serves the registry as Prometheus text.
func MetricsHandler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
}
