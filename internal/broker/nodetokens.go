package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/identify"
)

// NodeTokensConfig is what NodeTokens is made of. All is needed.
type NodeTokensConfig struct {
	// Cluster is the name that tokens must be made for.
	Cluster string
	// Policy says which tokens are worth a question to STS.
	Policy callerid.Policy
	// Roles are those of nodes. Their paths do not count: STS leaves them out.
	Roles   []arn.Role
	Callers *awsapi.Callers
	Nodes   *workload.Nodes
	Metrics prometheus.Registerer
	Now     func() time.Time
}

// NodeTokens identifies nodes by presigned GetCallerIdentity tokens of their
// instances' role: the session of an instance profile is named for its instance,
// and that is the node's spec.providerID (spec podidentity §19.3). Package identify
// says whose token it is.
type NodeTokens struct {
	NodeTokensConfig
	roles      map[string]bool // canonical ARNs
	identities *identify.Identifier
}

// ParseNodeRoles reads the ARNs of nodes' roles, which must be of the cluster's partition.
// STS never says a role's path, so that one is taken and does not count: names of roles
// are unique without.
func ParseNodeRoles(cluster association.Cluster, texts []string) ([]arn.Role, error) {
	roles := make([]arn.Role, 0, len(texts))
	for _, text := range texts {
		role, err := arn.ParseRole(text)
		if err != nil {
			return nil, err
		}
		if role.Partition != cluster.Partition {
			return nil, fmt.Errorf("%s is not of partition %s, which region %s is in", text, cluster.Partition,
				cluster.Region)
		}
		roles = append(roles, role)
	}
	return roles, nil
}

// NewNodeTokens asks nobody yet.
func NewNodeTokens(config NodeTokensConfig) *NodeTokens {
	counted := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rolecall_broker_node_tokens_total",
		Help: "Agents' AWS tokens, by what became of them: known and verified ones, " +
			"those refused without STS or by it, and those STS could not be asked about.",
	}, []string{"result"})
	config.Metrics.MustRegister(counted)
	n := &NodeTokens{NodeTokensConfig: config, roles: map[string]bool{}}
	n.identities = identify.New(identify.Config{
		Policy:  config.Policy,
		Ask:     config.Callers.Identify,
		Now:     config.Now,
		Observe: func(result identify.Result) { counted.WithLabelValues(string(result)).Inc() },
	})
	for _, role := range config.Roles {
		role.Path = "/"
		n.roles[role.ARN().String()] = true
	}
	return n
}

// caller says which node a token is of. from is the address it came from. With an
// error it returns who was refused, as far as that is known.
func (n *NodeTokens) caller(ctx context.Context, raw credential.Secret, from string) (Caller, error) {
	who, err := n.identities.Identify(ctx, raw, from)
	if err != nil {
		return Caller{}, n.refused(err)
	}
	switch caller := (Caller{Name: who.ARN}); {
	case who.Kind != callerid.AssumedRole:
		return caller, refusal.New(refusal.AccessDenied, "%s is not a session of a node's role.", who.ARN)
	case !n.roles[who.CanonicalARN]:
		return caller, refusal.New(refusal.AccessDenied, "The role %s is not a role of nodes.", who.CanonicalARN)
	case !workload.IsInstanceID(who.SessionName) || !strings.HasSuffix(who.ARN, "/"+who.SessionName):
		return caller, refusal.New(
			refusal.AccessDenied, "The session %s is not named for an EC2 instance, as those of instance profiles are.",
			who.ARN,
		)
	}
	node, err := n.Nodes.OfInstance(ctx, who.SessionName)
	return Caller{who.ARN, node}, err
}

// refused is why there is no identity in the words of EKS Auth.
func (n *NodeTokens) refused(err error) error {
	failed, ok := errors.AsType[*identify.Error](err)
	if !ok {
		return err
	}
	switch failed.Result {
	case identify.Malformed:
		return refusal.New(refusal.UnrecognizedClient, "The agent's own token is not accepted: %s.", failed)
	case identify.Limited:
		return refusal.New(refusal.Throttled, "%s", refusal.Sentence(failed))
	case identify.Refused:
		return refusal.New(
			refusal.UnrecognizedClient,
			"STS does not accept the agent's own token; it must be made for cluster %s, with valid credentials.",
			n.Cluster,
		).Because(failed)
	case identify.Throttled:
		return refusal.New(refusal.Throttled, "STS is asked too often about tokens.").Because(failed)
	default:
		return refusal.New(refusal.Unavailable, "STS cannot be asked about the agent's own token.").Because(failed)
	}
}
