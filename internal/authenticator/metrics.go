package authenticator

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/identify"
)

// outcome is the label result of the peer's histogram.
type outcome string

// The outcomes, by the names that dashboards know; one is misspelt, and stays so.
const (
	outcomeSuccess   outcome = "success"
	outcomeToken     outcome = "invalid_token"
	outcomeRequest   outcome = "malformed_request"
	outcomeSTS       outcome = "sts_error"
	outcomeThrottled outcome = "sts_throttling"
	outcomeUser      outcome = "uknown_user"
)

// Metrics are those of aws-iam-authenticator by its names (spec authenticator §6.4), and
// ours beside them. The methods are safe for concurrent use.
type Metrics struct {
	known func(region string) bool

	latency    *prometheus.HistogramVec
	responses  *prometheus.CounterVec
	failures   *prometheus.CounterVec
	throttling *prometheus.CounterVec
	// ConfigMapFailures, DynamicFileFailures and Describes count watches that failed,
	// files that could not be read, and calls of EC2.
	ConfigMapFailures, DynamicFileFailures, Describes prometheus.Counter
	// EndToEnd is from when another program wrote a file to when it counts, in seconds,
	// by type.
	EndToEnd *prometheus.HistogramVec
	// DynamicFile and DynamicFileOnly say whether such a file is a source, and the only.
	DynamicFile, DynamicFileOnly prometheus.Gauge

	refusals *prometheus.CounterVec
	logins   *prometheus.CounterVec
	tokens   *prometheus.CounterVec
	// Problems are faults in what a source says; GoodAt is when that was last read without
	// one, by source and key.
	Problems, GoodAt *prometheus.GaugeVec
}

// Types of EndToEnd.
const (
	TypeDynamicFile = "dynamic_file"
	TypeBackendMode = "dynamic_backend_mode"
)

const peers = "aws_iam_authenticator"

func newMetrics(known func(string) bool) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: peers, Name: name, Help: help}, labels)
	}
	single := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: peers, Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: peers, Name: name, Help: help})
	}
	own := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(
			prometheus.CounterOpts{Name: "rolecall_authenticator_" + name, Help: help}, labels)
	}
	ofSource := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(
			prometheus.GaugeOpts{Name: "rolecall_authenticator_" + name, Help: help}, append([]string{"source"}, labels...))
	}
	m := &Metrics{
		known: known,
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: peers, Name: "authenticate_latency_seconds",
			Help: "Time that questions of API servers took, by result.", Buckets: prometheus.DefBuckets,
		}, []string{"result"}),
		responses:  counter("sts_responses_total", "Answers of STS, by status and region.", "ResponseCode", "StsRegion"),
		failures:   counter("sts_connection_failures_total", "Questions that STS did not answer, by region.", "StsRegion"),
		throttling: counter("sts_throttling_total", "Answers by which STS asked to slow down, by region.", "StsRegion"),
		ConfigMapFailures: single("configmap_watch_failures_total",
			"Times that the ConfigMap aws-auth could not be watched."),
		DynamicFileFailures: single("dynamicfile_failures_total", "Times that the dynamic file could not be read."),
		Describes:           single("ec2_describe_instances_calls_total", "Calls of EC2 for names of nodes."),
		EndToEnd: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: peers, Name: "dynamic_e2e_latency_seconds",
			Help:    "Time from when a dynamic file says that it was written to when it counts, by type.",
			Buckets: []float64{1, 3, 5, 10, 15, 20, 30, 60},
		}, []string{"type"}),
		DynamicFile:     gauge("dynamic_file_enabled", "Whether a dynamic file is a source of mappings."),
		DynamicFileOnly: gauge("dynamic_file_only", "Whether it is the only one."),
		refusals:        own("refusals_total", "Refusals, by their reason.", "reason"),
		logins:          own("logins_total", "Users let in, by the source of the mapping.", "source"),
		tokens: own("tokens_total",
			"Tokens, by what became of them: known and verified ones, and those that were refused.", "result"),
		Problems: ofSource("mapping_problems", "Faults in what a source of mappings says."),
		GoodAt: ofSource("mapping_good_timestamp_seconds",
			"When a source of mappings, by key, was last read without a fault that makes the one before count.", "key"),
	}
	for _, result := range []outcome{
		outcomeSuccess, outcomeToken, outcomeRequest, outcomeSTS, outcomeThrottled, outcomeUser,
	} {
		m.latency.WithLabelValues(string(result))
	}
	return m
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.latency, m.responses, m.failures, m.throttling, m.ConfigMapFailures, m.DynamicFileFailures, m.Describes,
		m.EndToEnd, m.DynamicFile, m.DynamicFileOnly, m.refusals, m.logins, m.tokens, m.Problems, m.GoodAt,
	}
}

// regionOther stands for regions that nobody knows: who makes a token chooses its name.
const regionOther = "other"

func (m *Metrics) region(region string) string {
	if region == "global" || m.known(region) {
		return region
	}
	return regionOther
}

// Answered takes the status of an answer of STS, 0 for none.
func (m *Metrics) Answered(region string, status int) {
	if status == 0 {
		m.failures.WithLabelValues(m.region(region)).Inc()
		return
	}
	m.responses.WithLabelValues(strconv.Itoa(status), m.region(region)).Inc()
}

// Throttled counts an answer that asks to slow down.
func (m *Metrics) Throttled(region string) { m.throttling.WithLabelValues(m.region(region)).Inc() }

// Token takes what became of a token.
func (m *Metrics) Token(result identify.Result) { m.tokens.WithLabelValues(string(result)).Inc() }

func (m *Metrics) done(result outcome, reason Reason, took time.Duration) {
	m.latency.WithLabelValues(string(result)).Observe(took.Seconds())
	if reason != "" {
		m.refusals.WithLabelValues(string(reason)).Inc()
	}
}

func (m *Metrics) mapped(source access.Source) { m.logins.WithLabelValues(string(source)).Inc() }
