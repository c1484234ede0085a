package broker

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
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

// NodeTokens tells nodes by presigned GetCallerIdentity tokens of their
// instances' role: the session of an instance profile is named for its instance,
// and that is the node's spec.providerID (spec podidentity §19.3).
type NodeTokens struct {
	NodeTokensConfig
	roles map[string]bool // canonical ARNs
	// asking bounds the questions to STS at a time, asked those of one access key.
	asking  slots
	asked   *limiters
	counted *prometheus.CounterVec

	mu       sync.Mutex
	verdicts map[[sha256.Size]byte]verdict
}

// verdict is what STS said of a token, until it is to be asked again.
type verdict struct {
	who   *callerid.Identity
	err   error
	until time.Time
}

const (
	// goodFor is how long STS's word is taken: the role of a node that is taken away
	// from it stops counting that soon, and a node costs a question in that time.
	goodFor = 5 * time.Minute
	// badFor spares STS the tries of agents that ask again at once.
	badFor      = time.Second
	maxVerdicts = 20000
	maxAsking   = 64
	// Questions of one access key at one address: an agent has a new token every 13
	// minutes.
	askRate, askBurst, maxAskers = 1, 5, 20000
)

// NewNodeTokens asks nobody yet.
func NewNodeTokens(config NodeTokensConfig) *NodeTokens {
	n := &NodeTokens{
		NodeTokensConfig: config, roles: map[string]bool{}, asking: make(slots, maxAsking), asked: newLimiters(askRate, askBurst, maxAskers),
		verdicts: map[[sha256.Size]byte]verdict{},
		counted:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolecall_broker_node_tokens_total", Help: "Agents' AWS tokens, by what became of them: known and verified ones, those refused without STS or by it, and those STS could not be asked about."}, []string{"result"}),
	}
	for _, role := range config.Roles {
		role.Path = "/"
		n.roles[role.ARN().String()] = true
	}
	config.Metrics.MustRegister(n.counted)
	return n
}

// caller says which node a token is of. from is the address it came from. With an
// error it returns who was refused, as far as that is known.
func (n *NodeTokens) caller(ctx context.Context, raw credential.Secret, from string) (Caller, error) {
	who, err := n.identify(ctx, raw, from)
	if err != nil {
		return Caller{}, err
	}
	switch caller := (Caller{Name: who.ARN}); {
	case who.Kind != callerid.AssumedRole:
		return caller, refusal.New(refusal.AccessDenied, "%s is no session of a node's role.", who.ARN)
	case !n.roles[who.CanonicalARN]:
		return caller, refusal.New(refusal.AccessDenied, "The role %s is not one of those of nodes.", who.CanonicalARN)
	case !workload.IsInstanceID(who.SessionName) || !strings.HasSuffix(who.ARN, "/"+who.SessionName):
		return caller, refusal.New(refusal.AccessDenied, "The session %s is not named for an EC2 instance, as those of instance profiles are.", who.ARN)
	}
	node, err := n.Nodes.OfInstance(ctx, who.SessionName)
	return Caller{who.ARN, node}, err
}

// identify returns STS's word about a token, which is asked for only after all
// that can be seen without.
func (n *NodeTokens) identify(ctx context.Context, raw credential.Secret, from string) (*callerid.Identity, error) {
	key := sha256.Sum256([]byte(raw.Reveal()))
	if kept, found := n.known(key); found {
		n.count("known")
		return kept.who, kept.err
	}
	now := n.Now()
	p, err := callerid.Parse(raw, n.Policy, now)
	if err != nil {
		n.count("malformed")
		return nil, refusal.New(refusal.UnrecognizedClient, "The agent's own token is not accepted: %s.", err)
	}
	if !n.asked.allow(from+" "+p.AccessKeyID, now) {
		n.count("limited")
		return nil, refusal.New(refusal.Throttled, "The access key %q asks too often.", p.AccessKeyID)
	}
	if !n.asking.take() {
		n.count("limited")
		return nil, refusal.New(refusal.Throttled, "STS is asked as much as it may be.")
	}
	defer n.asking.free()
	who, err := n.Callers.Identify(ctx, p)
	until := now.Add(badFor)
	if err != nil {
		err = n.refused(err)
	} else {
		n.count("verified")
		until = now.Add(goodFor)
		if end := p.Expires(); end.Before(until) {
			until = end
		}
	}
	if ctx.Err() == nil { // else it may be only that this agent left
		n.keep(key, verdict{who, err, until})
	}
	return who, err
}

// refused is STS's no in the words of EKS Auth.
func (n *NodeTokens) refused(err error) error {
	switch fault.KindOf(err) {
	case fault.Denied, fault.Invalid:
		n.count("refused")
		return refusal.New(refusal.UnrecognizedClient, "STS does not accept the agent's own token; it must be made for cluster %s, with credentials that are valid.", n.Cluster).Because(err)
	case fault.Throttled:
		n.count("throttled")
		return refusal.New(refusal.Throttled, "STS is asked too often whose tokens are.").Because(err)
	default:
		n.count("unavailable")
		return refusal.New(refusal.Unavailable, "STS cannot be asked whose the agent's own token is.").Because(err)
	}
}

func (n *NodeTokens) count(result string) { n.counted.WithLabelValues(result).Inc() }

func (n *NodeTokens) known(key [sha256.Size]byte) (verdict, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	kept, found := n.verdicts[key]
	if found && !n.Now().Before(kept.until) {
		delete(n.verdicts, key)
		return verdict{}, false
	}
	return kept, found
}

func (n *NodeTokens) keep(key [sha256.Size]byte, one verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.verdicts) >= maxVerdicts {
		now := n.Now()
		for other, kept := range n.verdicts {
			if !now.Before(kept.until) {
				delete(n.verdicts, other)
			}
		}
	}
	if len(n.verdicts) < maxVerdicts {
		n.verdicts[key] = one
	}
}
