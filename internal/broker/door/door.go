// Package door is what every request to the broker passes, whatever it asks for:
// does its address have failures left, what does it say, who is it. It also says
// what an answer and a refusal look like, and what the audit says of either (spec
// podidentity §19.2, §19.3, §19.9).
//
// An operation says how its callers are known and what it does for them; it cannot
// leave a step out. The door does not decide who may have what.
package door

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/limit"
)

// maxBody is for every request (spec podidentity §19.2).
const maxBody = 32 << 10

// maxSources is how many addresses are remembered whose requests failed.
const maxSources = 10000

// Config is what a Door is made of. All is needed.
type Config struct {
	Cluster *association.Cluster
	// FailureRate and FailureBurst: requests of one address that are not
	// authenticated, a second and at once.
	FailureRate  float64
	FailureBurst int
	Audit        *Audit
	Metrics      prometheus.Registerer
	Log          *slog.Logger
	Now          func() time.Time
}

// Door is shared by all operations: an address that fails at one of them fails at all.
type Door struct {
	Config
	failures *limit.Rates[string]
	limited  *prometheus.CounterVec // by limit
}

// New makes a door.
func New(config Config) *Door {
	d := &Door{
		Config: config, failures: limit.NewRates[string](config.FailureRate, config.FailureBurst, maxSources),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_broker_limited_total", Help: "Requests refused by one of the broker's own limits.",
		}, []string{"limit"}),
	}
	config.Metrics.MustRegister(d.limited)
	return d
}

// Limited is the refusal of one of the broker's own limits, and counts it.
func (d *Door) Limited(by, message string) error {
	d.limited.WithLabelValues(by).Inc()
	return refusal.New(refusal.Throttled, "%s", message)
}

// Recorded says what of an operation has a record in the audit.
type Recorded int

// What may have one.
const (
	Everything Recorded = iota
	Refusals
	Nothing
)

// Operation is what is done for those who come through the door, who are known as Who.
type Operation[Who any] struct {
	// Name is the event's in the audit.
	Name string
	// Deadline is how long a request may take.
	Deadline time.Duration
	// Places bound the requests that are served at a time; nil bounds nothing.
	Places limit.Slots
	// BadBody is the code for a body that is too large or cut off.
	BadBody refusal.Code
	// Authenticate says who asks. Every refusal but refusal.Unavailable counts
	// against the address.
	Authenticate func(ctx context.Context, r *http.Request, body []byte) (Who, error)
	// Note writes who asks into the record, also when they were refused.
	Note func(*Record, Who)
	// Do answers; what it returns goes out as JSON. Every error is a refusal, or
	// becomes one by Refusal.
	Do func(ctx context.Context, q *Request[Who]) (any, error)
	// Refusal puts an error into the operation's own words; nil is refusal.Of.
	Refusal func(error) *refusal.Error
	// Recorded says what has a record, and Decision what it says of what was done.
	Recorded Recorded
	Decision string
	// Ended is told of each request, for metrics and logs; refused is nil if it was
	// answered.
	Ended func(q *Request[Who], refused *refusal.Error)
}

// Request is one of somebody who is known.
type Request[Who any] struct {
	HTTP   *http.Request
	Writer http.ResponseWriter
	Body   []byte
	Who    Who
	Record *Record
	// Took is how long it took; zero before it ended.
	Took time.Duration
}

// Handler serves an operation.
func Handler[Who any](d *Door, op Operation[Who]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := d.Now()
		q := &Request[Who]{HTTP: r, Writer: w, Record: &Record{
			Time: began.UTC(), Event: op.Name, RequestID: uuid.NewString(), Cluster: d.Cluster.Name, Source: Source(r),
		}}
		ctx, cancel := context.WithTimeout(r.Context(), op.Deadline)
		defer cancel()
		answer, err := serve(ctx, d, &op, q)
		q.Took = d.Now().Sub(began)
		q.Record.Milliseconds = float64(q.Took.Microseconds()) / 1000
		var refused *refusal.Error
		if err != nil {
			refused = op.refusal(err)
			q.Record.Decision, q.Record.Code, q.Record.Reason = "refused", string(refused.Code), refused.Message
			q.Record.AWSRequestID = refused.AWSRequestID
		} else {
			q.Record.Decision = op.Decision
		}
		if op.Recorded == Everything || op.Recorded == Refusals && refused != nil {
			d.Audit.write(q.Record)
		}
		if op.Ended != nil {
			op.Ended(q, refused)
		}
		if refused != nil {
			refusal.Write(w, q.Record.RequestID, refused)
			return
		}
		writeJSON(w, q.Record.RequestID, answer)
	}
}

// serve is the way in (spec podidentity §19.3): is there a place, may this address fail
// once more, what does it say, who is it.
func serve[Who any](ctx context.Context, d *Door, op *Operation[Who], q *Request[Who]) (answer any, err error) {
	if op.Places != nil {
		if !op.Places.Take() {
			return nil, d.Limited("running", "The broker serves as many requests as it can.")
		}
		defer op.Places.Free()
	}
	if !d.failures.Has(q.Record.Source, d.Now()) {
		return nil, d.Limited("source", "Too many requests of this address were refused.")
	}
	if q.Body, err = io.ReadAll(http.MaxBytesReader(q.Writer, q.HTTP.Body, maxBody)); err != nil {
		return nil, refusal.New(op.BadBody, "The body is too large, or was cut off.").Because(err)
	}
	q.Who, err = op.Authenticate(ctx, q.HTTP, q.Body)
	op.Note(q.Record, q.Who)
	if err != nil {
		if refusal.Of(err).Code != refusal.Unavailable {
			d.failures.Allow(q.Record.Source, d.Now())
		}
		return nil, err
	}
	return op.Do(ctx, q)
}

func (op *Operation[Who]) refusal(err error) *refusal.Error {
	if op.Refusal != nil {
		return op.Refusal(err)
	}
	return refusal.Of(err)
}

// writeJSON answers. No answer of these APIs may be kept.
func writeJSON(w http.ResponseWriter, requestID string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		refusal.Write(w, requestID, refusal.Of(err))
		return
	}
	header := w.Header()
	header.Set("X-Amzn-Requestid", requestID)
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(append(text, '\n')) // an agent that left has nobody to tell
}

// Source is the address a request came from.
func Source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// Bearer returns the token of the one Authorization header.
func Bearer(r *http.Request) (credential.Secret, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return credential.Secret{}, refusal.New(refusal.MissingToken, "Missing Authentication Token")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return credential.Secret{}, refusal.New(
			refusal.UnrecognizedClient, "Want one Authorization header with a Bearer token.",
		)
	}
	return credential.NewSecret(strings.TrimSpace(token)), nil
}
