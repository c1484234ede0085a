package broker

import (
	"context"
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/workload"
)

// AgentMode is how agents show who they are (spec podidentity §19.3).
type AgentMode string

// The modes.
const (
	// ServiceAccountToken is a projected token of the agent's own account, bound
	// to its pod, which names the node.
	ServiceAccountToken AgentMode = "sa-token"
	// ClientCertificate is a kubelet's.
	ClientCertificate AgentMode = "mtls"
	// Signature is AWS's, with a key of a table that names its node.
	Signature AgentMode = "sigv4"
	// AWSToken is a presigned GetCallerIdentity token of the node's role.
	AWSToken AgentMode = "aws-token"
	// NoAuthentication takes the pod's token alone, from anywhere.
	NoAuthentication AgentMode = "none"
)

// Agents says who asks.
type Agents struct {
	Mode AgentMode
	// Account is the agent's NAMESPACE/NAME, Audience that of its tokens; of
	// ServiceAccountToken.
	Account, Audience string
	Tokens            *workload.Verifier
	// Keys is the table of Signature.
	Keys *door.KeyTable
	// Nodes verifies the tokens of AWSToken.
	Nodes *NodeTokens
	Now   func() time.Time
}

// Caller is an agent. Node is empty where nothing names it.
type Caller struct{ Name, Node string }

// signingService is EKS Auth's.
const signingService = "eks-auth"

// authenticate says which node asks. body is what was signed.
func (a *Agents) authenticate(ctx context.Context, r *http.Request, body []byte) (Caller, error) {
	switch a.Mode {
	case ServiceAccountToken:
		return a.byToken(ctx, r)
	case ClientCertificate:
		return byCertificate(r.TLS)
	case Signature:
		key, err := a.Keys.Verify(r, body, signingService, a.Now())
		switch {
		case err != nil:
			return Caller{}, err
		case key.Node == "":
			return Caller{}, refusal.New(
				refusal.AccessDenied, "The access key %s does not belong to a node.", key.AccessKeyID,
			)
		}
		return Caller{key.AccessKeyID, key.Node}, nil
	case AWSToken:
		raw, err := door.Bearer(r)
		if err != nil {
			return Caller{}, err
		}
		return a.Nodes.caller(ctx, raw, door.Source(r))
	case NoAuthentication:
		return Caller{}, nil
	}
	return Caller{}, refusal.New(refusal.AccessDenied, "No agent is admitted.")
}

func (a *Agents) byToken(ctx context.Context, r *http.Request) (Caller, error) {
	raw, err := door.Bearer(r)
	if err != nil {
		return Caller{}, err
	}
	identity, err := a.Tokens.Verify(ctx, raw, a.Audience)
	if err != nil {
		refused := refusal.Of(err)
		if refused.Code == refusal.InvalidToken || refused.Code == refusal.ExpiredToken {
			// What is wrong with the agent's token must not look like something
			// wrong with the pod's.
			return Caller{}, refusal.New(
				refusal.UnrecognizedClient, "The agent's own token is not accepted: %s", refused.Message,
			).Because(refused.Cause)
		}
		return Caller{}, err
	}
	name := identity.Namespace + "/" + identity.ServiceAccount
	switch {
	case name != a.Account:
		return Caller{}, refusal.New(refusal.AccessDenied, "The service account %s may not ask for pods.", name)
	case !identity.Bound() || identity.Node == "":
		return Caller{}, refusal.New(refusal.AccessDenied, "The agent's own token is not bound to a pod on a node.")
	}
	return Caller{name + " " + identity.Pod, identity.Node}, nil
}

// byCertificate reads a kubelet's certificate, which the TLS server verified.
func byCertificate(state *tls.ConnectionState) (Caller, error) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return Caller{}, refusal.New(refusal.MissingToken, "Want a client certificate of a node.")
	}
	subject := state.VerifiedChains[0][0].Subject
	node, ok := strings.CutPrefix(subject.CommonName, "system:node:")
	if !ok || node == "" || !slices.Contains(subject.Organization, "system:nodes") {
		return Caller{}, refusal.New(
			refusal.AccessDenied, "The client certificate of %q is not that of a node.", subject.CommonName,
		)
	}
	return Caller{subject.CommonName, node}, nil
}
