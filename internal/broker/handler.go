package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/credential"
)

// Limits of requests (spec podidentity §19.2).
const (
	maxBody         = 32 << 10
	maxToken        = 16 << 10
	handlerDeadline = 5 * time.Second
	pollHold        = 55 * time.Second
	pollWrite       = 10 * time.Second
)

// Routes adds the broker's paths. Polls end when draining is closed.
func (b *Broker) Routes(mux *http.ServeMux, draining <-chan struct{}) {
	mux.HandleFunc("POST /clusters/{name}/assume-role-for-pod-identity", b.serveAssume)
	mux.HandleFunc("GET /rolecall/v1/changes", func(w http.ResponseWriter, r *http.Request) { b.serveChanges(w, r, draining) })
}

func (b *Broker) serveAssume(w http.ResponseWriter, r *http.Request) {
	began := b.Now()
	record := &Record{Time: began.UTC(), Event: "AssumeRoleForPodIdentity", RequestID: uuid.NewString(), Cluster: b.Cluster.Name, Source: source(r)}
	deadline := cmp.Or(b.Deadline, handlerDeadline)
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	defer cancel()
	// A body that arrives slowly holds the request for no longer. The server's own
	// deadline is for the EKS API, too, whose operations may take longer.
	until := time.Now().Add(deadline) //nolint:forbidigo // connections go by the real clock
	if err := http.NewResponseController(w).SetReadDeadline(until); err != nil && !errors.Is(err, http.ErrNotSupported) {
		b.Log.Debug("no deadline for a body", "error", err)
	}
	got, err := b.answer(ctx, w, r, record)
	took := b.Now().Sub(began)
	record.Milliseconds = float64(took.Microseconds()) / 1000
	b.metrics.seconds.Observe(took.Seconds())
	if err != nil {
		b.refuse(w, record, refusal.Of(err))
		return
	}
	record.Decision = "issued"
	b.metrics.requests.WithLabelValues("issued").Inc()
	b.Audit.write(record)
	b.write(w, record.RequestID, got)
}

// answer is spec podidentity §19.3 and §19.4: who asks, then what for.
func (b *Broker) answer(ctx context.Context, w http.ResponseWriter, r *http.Request, record *Record) (*issued, error) {
	if !b.running.Take() {
		b.metrics.limited.WithLabelValues("running").Inc()
		return nil, refusal.New(refusal.Throttled, "The broker serves as many requests as it can.")
	}
	defer b.running.Free()
	from := source(r)
	if !b.limits.mayFail(from, b.Now()) {
		b.metrics.limited.WithLabelValues("source").Inc()
		return nil, refusal.New(refusal.Throttled, "Too many requests of this address were refused.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, refusal.New(refusal.InvalidParameter, "The body is too large, or was cut off.").Because(err)
	}
	who, err := b.Agents.authenticate(ctx, r, body)
	record.Caller, record.Node = who.Name, who.Node
	if err != nil {
		if refusal.Of(err).Code != refusal.Unavailable {
			b.limits.failed(from, b.Now())
		}
		return nil, err
	}
	limited := who.Node
	if limited == "" {
		limited = "address " + from
	}
	if !b.limits.node(limited, b.Now()) {
		b.metrics.limited.WithLabelValues("node").Inc()
		return nil, refusal.New(refusal.Throttled, "The node asks too often.")
	}
	if err := b.checkCluster(r.PathValue("name")); err != nil {
		return nil, err
	}
	raw, err := readToken(body)
	if err != nil {
		return nil, err
	}
	return b.assume(ctx, who, raw, record)
}

// isToken is ^[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+$. A regular
// expression takes longer for it than verifying a signature.
func isToken(text string) bool {
	dots, part := 0, 0
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '=':
			part++
		case c == '.' && part > 0:
			dots, part = dots+1, 0
		default:
			return false
		}
	}
	return dots == 2 && part > 0
}

func (b *Broker) checkCluster(name string) error {
	switch {
	case !arn.IsClusterName(name):
		return refusal.New(refusal.InvalidParameter, "1 validation error detected: Value at 'clusterName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[0-9A-Za-z][A-Za-z0-9\\-_]*")
	case name != b.Cluster.Name:
		return refusal.New(refusal.NotFound, "No cluster found for name: %s.", name)
	}
	return nil
}

// readToken is step 1. Member names count exactly, as in AWS's own servers.
func readToken(body []byte) (credential.Secret, error) {
	var members map[string]json.RawMessage
	var text string
	switch {
	case json.Unmarshal(body, &members) != nil || members == nil:
		return credential.Secret{}, refusal.New(refusal.InvalidParameter, "The body is no JSON object.")
	case members["token"] == nil:
		return credential.Secret{}, refusal.New(refusal.InvalidParameter, "1 validation error detected: Value null at 'token' failed to satisfy constraint: Member must not be null")
	case json.Unmarshal(members["token"], &text) != nil:
		return credential.Secret{}, refusal.New(refusal.InvalidParameter, "The member token is no text.")
	case len(text) > maxToken || !isToken(text):
		return credential.Secret{}, refusal.New(refusal.InvalidParameter, "1 validation error detected: Value at 'token' failed to satisfy constraint: want a JWT of at most %d bytes", maxToken)
	}
	return credential.NewSecret(text), nil
}

// refuse writes the answer, the record, and what else tells of it.
func (b *Broker) refuse(w http.ResponseWriter, record *Record, refused *refusal.Error) {
	record.Decision, record.Code, record.Reason = "refused", string(refused.Code), refused.Message
	record.AWSRequestID = refused.AWSRequestID
	b.metrics.requests.WithLabelValues(string(refused.Code)).Inc()
	b.Audit.write(record)
	attributes := []any{"requestID", record.RequestID, "code", string(refused.Code), "reason", refused.Message, "namespace", record.Namespace, "serviceAccount", record.ServiceAccount, "pod", record.Pod, "node", record.Node}
	if refused.Cause != nil {
		attributes = append(attributes, "error", refused.Cause)
	}
	if refused.HTTPStatus() >= http.StatusInternalServerError {
		b.Log.Error("session refused", attributes...)
	} else {
		b.Log.Info("session refused", attributes...)
	}
	if b.Refused != nil && record.PodUID != "" {
		b.Refused(PodRefusal{record.Namespace, record.Pod, record.PodUID, refused.Code, refused.Message})
	}
	refusal.Write(w, record.RequestID, refused)
}

// The answer of spec podidentity §12.2; every member is required.
type wireAnswer struct {
	Subject struct {
		Namespace      string `json:"namespace"`
		ServiceAccount string `json:"serviceAccount"`
	} `json:"subject"`
	Audience    string `json:"audience"`
	Association struct {
		ARN string `json:"associationArn"`
		ID  string `json:"associationId"`
	} `json:"podIdentityAssociation"`
	User struct {
		ARN string `json:"arn"`
		ID  string `json:"assumeRoleId"`
	} `json:"assumedRoleUser"`
	Credentials wireCredentials `json:"credentials"`
}

// wireCredentials hold secrets in the clear: they are the answer itself.
type wireCredentials struct {
	SessionToken    string `json:"sessionToken"`
	SecretAccessKey string `json:"secretAccessKey"`
	AccessKeyID     string `json:"accessKeyId"`
	Expiration      int64  `json:"expiration"`
}

func credentialsOf(s *session.Session) wireCredentials {
	return wireCredentials{s.Credentials.SessionToken.Reveal(), s.Credentials.SecretKey.Reveal(), s.Credentials.AccessKeyID, s.Credentials.Expires.Unix()}
}

func (b *Broker) write(w http.ResponseWriter, requestID string, got *issued) {
	var answer wireAnswer
	answer.Subject.Namespace, answer.Subject.ServiceAccount, answer.Audience = got.identity.Namespace, got.identity.ServiceAccount, Audience
	answer.Association.ID = association.ID(got.association)
	answer.Association.ARN = b.Cluster.AssociationARN(answer.Association.ID)
	answer.User.ARN, answer.User.ID, answer.Credentials = got.ARN, got.ID, credentialsOf(got.Session)
	w.Header().Set("X-Rolecall-Association-Version", strconv.FormatInt(got.association.Generation, 10))
	writeJSON(w, requestID, answer)
}

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

// serveChanges is spec podidentity §19.6. An agent hears of its own node only.
func (b *Broker) serveChanges(w http.ResponseWriter, r *http.Request, draining <-chan struct{}) {
	requestID := uuid.NewString()
	ctx, cancel := context.WithTimeout(r.Context(), pollHold)
	defer cancel()
	from := source(r)
	if !b.limits.mayFail(from, b.Now()) {
		refusal.Write(w, requestID, refusal.New(refusal.Throttled, "Too many requests of this address were refused."))
		return
	}
	who, err := b.Agents.authenticate(ctx, r, nil)
	node := r.URL.Query().Get("node")
	switch {
	case err != nil:
		if refusal.Of(err).Code != refusal.Unavailable {
			b.limits.failed(from, b.Now())
		}
	case node == "" || len(node) > 253:
		err = refusal.New(refusal.InvalidParameter, "Want the parameter node.")
	case b.Agents.Mode != NoAuthentication && node != who.Node:
		err = refusal.New(refusal.AccessDenied, "The node %q may not ask for node %q.", who.Node, node)
	case !b.limits.node("changes "+node, b.Now()):
		err = refusal.New(refusal.Throttled, "The node asks too often.")
	case !closed(b.Associations.Synced()):
		err = refusal.New(refusal.Unavailable, "The broker does not know the cluster's associations yet.")
	}
	if err == nil && !b.polling.Take() {
		err = refusal.New(refusal.Throttled, "The broker holds as many requests as it can.")
	}
	if err != nil {
		refusal.Write(w, requestID, refusal.Of(err))
		return
	}
	defer b.polling.Free()
	go func() {
		select {
		case <-draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	// The server's own deadlines are for requests that are answered at once.
	until := time.Now().Add(pollHold + pollWrite) //nolint:forbidigo // connections go by the real clock
	connection := http.NewResponseController(w)
	if err := errors.Join(connection.SetReadDeadline(until), connection.SetWriteDeadline(until)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		b.Log.Debug("no later deadline for a poll", "error", err)
	}
	items, next := b.Changes.since(ctx, r.URL.Query().Get("since"), b.usedOn(node))
	answer := struct {
		Cursor string       `json:"cursor"`
		Items  []wireChange `json:"items"`
	}{next, []wireChange{}}
	for _, one := range items {
		answer.Items = append(answer.Items, wireChange{one.id, one.generation, one.gone})
	}
	writeJSON(w, requestID, answer)
}

type wireChange struct {
	ID      string `json:"associationId"`
	Version int64  `json:"version"`
	Deleted bool   `json:"deleted"`
}

// usedOn wants changes that pods of a node may have sessions of, as the pods are
// when it is asked. What is gone is always told: its pods may be gone, too.
func (b *Broker) usedOn(node string) func(change) bool {
	return func(one change) bool {
		if one.gone {
			return true
		}
		uses, known := b.Objects.UsesOn(node, one.namespace, func(account string) bool { return account == one.account || covers(one, account) })
		return uses || !known
	}
}

// source is the address a request came from.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}
