package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/credential"
)

// Limits of requests (spec podidentity §19.2).
const (
	maxToken        = 16 << 10
	handlerDeadline = 5 * time.Second
	// answerPart: four fifths of the deadline are for STS, the last one is for the
	// answer that says that it goes on.
	answerPart = 5
	pollHold   = 55 * time.Second
	pollWrite  = 10 * time.Second
)

// Routes adds the broker's paths. Polls end when draining is closed.
func (b *Broker) Routes(mux *http.ServeMux, draining <-chan struct{}) {
	mux.HandleFunc("POST /clusters/{name}/assume-role-for-pod-identity", b.assumeHandler())
	mux.HandleFunc("GET /rolecall/v1/changes", b.changesHandler(draining))
}

// assumeHandler serves EKS Auth's one operation.
func (b *Broker) assumeHandler() http.HandlerFunc {
	deadline := cmp.Or(b.Deadline, handlerDeadline)
	handler := door.Handler(b.door, door.Operation[Caller]{
		Name:         "AssumeRoleForPodIdentity",
		Deadline:     deadline,
		Places:       b.running,
		BadBody:      refusal.InvalidParameter,
		Decision:     "issued",
		Authenticate: b.Agents.authenticate,
		Note:         note,
		Do:           b.answer,
		Ended:        b.ended,
	})
	return func(w http.ResponseWriter, r *http.Request) {
		// A body that arrives slowly holds the request for no longer. The server's own
		// deadline is for the EKS API, too, whose operations may take longer.
		until := time.Now().Add(deadline) //nolint:forbidigo // connections go by the real clock
		if err := http.NewResponseController(w).SetReadDeadline(until); err != nil && !errors.Is(
			err, http.ErrNotSupported,
		) {
			b.Log.Debug("no deadline for a body", "error", err)
		}
		handler(w, r)
	}
}

// note writes which agent asked.
func note(record *door.Record, who Caller) { record.Caller, record.Node = who.Name, who.Node }

// answer is spec podidentity §19.4: what an agent that is known asks for.
func (b *Broker) answer(ctx context.Context, q *door.Request[Caller]) (any, error) {
	limited := q.Who.Node
	if limited == "" {
		limited = "address " + q.Record.Source
	}
	if !b.limits.node(limited, b.Now()) {
		return nil, b.door.Limited("node", "The node asks too often.")
	}
	if err := b.checkCluster(q.HTTP.PathValue("name")); err != nil {
		return nil, err
	}
	raw, err := readToken(q.Body)
	if err != nil {
		return nil, err
	}
	got, err := b.assume(ctx, q.Who, raw, q.Record)
	if err != nil {
		return nil, err
	}
	q.Writer.Header().Set("X-Rolecall-Association-Version", strconv.FormatInt(got.association.Generation, 10))
	return b.wire(got), nil
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
		return refusal.New(
			refusal.InvalidParameter,
			"1 validation error detected: Value at 'clusterName' failed to satisfy constraint: Member must satisfy "+
				"regular expression pattern: ^[0-9A-Za-z][A-Za-z0-9\\-_]*",
		)
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
		return credential.Secret{}, refusal.New(refusal.InvalidParameter, "The body is not a JSON object.")
	case members["token"] == nil:
		return credential.Secret{}, refusal.New(
			refusal.InvalidParameter,
			"1 validation error detected: Value null at 'token' failed to satisfy constraint: Member must not be null",
		)
	case json.Unmarshal(members["token"], &text) != nil:
		return credential.Secret{}, refusal.New(refusal.InvalidParameter, "The member token must be a string.")
	case len(text) > maxToken || !isToken(text):
		return credential.Secret{}, refusal.New(
			refusal.InvalidParameter,
			"1 validation error detected: Value at 'token' failed to satisfy constraint: "+
				"want a JWT of at most %d bytes",
			maxToken,
		)
	}
	return credential.NewSecret(text), nil
}

// ended counts a request for a session, and says why there was none.
func (b *Broker) ended(q *door.Request[Caller], refused *refusal.Error) {
	b.metrics.seconds.Observe(q.Took.Seconds())
	if refused == nil {
		b.metrics.requests.WithLabelValues("issued").Inc()
		return
	}
	b.metrics.requests.WithLabelValues(string(refused.Code)).Inc()
	record := q.Record
	attributes := []any{
		"requestID", record.RequestID, "code", string(refused.Code), "reason", refused.Message,
		"namespace", record.Namespace, "serviceAccount", record.ServiceAccount, "pod", record.Pod, "node", record.Node,
	}
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
	return wireCredentials{
		s.Credentials.SessionToken.Reveal(), s.Credentials.SecretKey.Reveal(), s.Credentials.AccessKeyID,
		s.Credentials.Expires.Unix(),
	}
}

func (b *Broker) wire(got *issued) *wireAnswer {
	answer := &wireAnswer{}
	answer.Subject.Namespace, answer.Subject.ServiceAccount, answer.Audience = got.identity.Namespace,
		got.identity.ServiceAccount, Audience
	answer.Association.ID = association.ID(got.association)
	answer.Association.ARN = b.Cluster.AssociationARN(answer.Association.ID)
	answer.User.ARN, answer.User.ID, answer.Credentials = got.ARN, got.ID, credentialsOf(got.Session)
	return answer
}
