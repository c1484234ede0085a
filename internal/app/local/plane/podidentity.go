package plane

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/eksapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/sessionplan"
	"github.com/rolecall/rolecall/internal/token"
)

// The agent is a pod like any other, and shows the broker its own token.
const (
	agentNamespace = "rolecall-system"
	agentName      = "rolecall-agent"
	agentAudience  = "rolecall-broker"
	agentLifetime  = 10 * time.Minute
	// brokerUser is who the local administrator is for the broker.
	brokerUser = "admin"
)

// podIdentity are the broker and the agent of a plane, and what runs with them.
type podIdentity struct {
	objects *workload.Objects
	keys    *workload.Keys
	routes  *http.ServeMux // the broker's
	agent   *agent.Agent
	log     *slog.Logger
	audit   *auditLog
	// draining ends the broker's long polls.
	draining chan struct{}
}

// newPodIdentity makes broker and agent and starts nothing. aws is the URL of
// local AWS, on whose port the broker answers, too; the agent will answer at
// agentAddress.
func (p *Plane) newPodIdentity(known accounts, aws string, agentAddress netip.Addr) error {
	now, log, registry := p.config.Now, p.config.Log, prometheus.NewRegistry()
	d := &podIdentity{
		objects:  workload.NewEmbedded(now),
		routes:   http.NewServeMux(),
		log:      log,
		draining: make(chan struct{}),
		audit:    &auditLog{log: log},
	}
	for name := range known {
		if err := d.objects.PutServiceAccount(serviceAccount(name)); err != nil {
			return err
		}
	}
	d.keys = workload.NewKeys(func(context.Context) (string, []byte, error) {
		document, err := token.MarshalJWKS(p.public())
		return quickstart.Issuer, document, err
	}, now)
	tokens := &workload.Verifier{Mode: workload.JWKS, Keys: d.keys, Objects: d.objects, Disagreed: func() {}, Now: now}
	changes := broker.NewChanges()
	p.associations.Notify(changes.Changed)
	cluster := &association.Cluster{
		Name:      quickstart.Cluster,
		Partition: "aws",
		Region:    quickstart.Region,
		Account:   quickstart.Account,
	}
	made := broker.New(broker.Config{
		Cluster: cluster, Tokens: tokens, Objects: d.objects, Associations: p.associations, Changes: changes,
		Grants: follow.Fixed[*grant.Set]{Content: &grant.Set{}},
		Agents: &broker.Agents{
			Mode:     broker.ServiceAccountToken,
			Account:  agentNamespace + "/" + agentName,
			Audience: agentAudience,
			Tokens:   tokens,
			Now:      now,
		},
		Sessions: &session.Taker{
			Roles:  awsapi.NewLocalRoles(aws, quickstart.Region, p.admin),
			Minter: &session.Minter{Issuer: quickstart.Issuer, Key: follow.Hold(p.key), Now: now},
			Plane:  sessionplan.Plane{Cluster: *cluster, Mode: v1alpha1.Federated},
			Pace:   session.NewPace(100, 200, now), Metrics: session.NewMetrics(registry), Now: now,
		},
		Limits: broker.DefaultLimits(), Audit: door.NewAudit(d.audit,
			func(err error) { log.Error("audit record not written", "error", err) }),
		Metrics: registry, Log: log, Now: now,
	})
	made.Routes(d.routes, d.draining)
	service := &association.Service{Store: p.associations, Known: p.associations.Current, Now: now}
	eksapi.New(made.Door(), service,
		&eksapi.Users{Keys: door.NewKeyTable(brokerUser, p.admin), Now: now}).Routes(d.routes)

	bearer, err := p.agentPod(d.objects)
	if err != nil {
		return err
	}
	upstream := awsapi.NewLocalBroker(aws, bearer, now)
	config := agent.Defaults()
	config.Cluster, config.Upstream, config.Changes, config.Node = quickstart.Cluster, upstream, upstream, NodeName
	config.AllowedHosts, config.Metrics, config.Log, config.Now = []netip.Addr{agentAddress}, registry, log, now
	if d.agent, err = agent.New(config); err != nil {
		return err
	}
	p.identity = d
	return nil
}

// agentPod has the agent's account and pod be there, and returns what makes its
// tokens.
func (p *Plane) agentPod(objects *workload.Objects) (func() (credential.Secret, error), error) {
	account := serviceAccount(agentNamespace + "/" + agentName)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: agentNamespace, Name: agentName, UID: types.UID(uuid.NewString())},
		Spec:       corev1.PodSpec{ServiceAccountName: agentName, NodeName: NodeName},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if err := errors.Join(objects.PutServiceAccount(account), objects.PutPod(pod)); err != nil {
		return nil, err
	}
	return func() (credential.Secret, error) {
		at := p.config.Now().UTC().Truncate(time.Second)
		return token.Mint(p.key, &token.Claims{
			Issuer:    quickstart.Issuer,
			Subject:   token.ServiceAccountSubject(agentNamespace, agentName),
			Audiences: []string{agentAudience},
			IssuedAt:  at, NotBefore: at, Expiry: at.Add(agentLifetime), ID: uuid.NewString(),
			Workload: token.Workload{
				Namespace: agentNamespace, Node: &p.pods.node, Pod: &token.Reference{
					Name: agentName,
					UID:  string(pod.UID),
				},
				ServiceAccount: token.Reference{Name: agentName, UID: string(account.UID)},
			},
		})
	}, nil
}

// run is what goes on beside the servers until ctx is done.
func (d *podIdentity) run(ctx context.Context, start func(func() error)) {
	start(func() error { return d.keys.Run(ctx, d.log) })
	start(func() error { return d.agent.Run(ctx) })
	start(func() error {
		<-ctx.Done()
		close(d.draining)
		return nil
	})
}

// beside serves the broker's paths for the plane's own cluster, and all else as
// local AWS: so AWS_ENDPOINT_URL is enough for `aws eks`, too.
func (d *podIdentity) beside(aws http.Handler) http.Handler {
	const cluster = "/clusters/" + quickstart.Cluster + "/"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ours := strings.CutPrefix(r.URL.Path, cluster)
		switch {
		case ours && (strings.HasPrefix(rest, "pod-identity-associations") || rest == "assume-role-for-pod-identity"),
			strings.HasPrefix(r.URL.Path, "/tags/") && strings.Contains(r.URL.Path,
				":podidentityassociation/"+quickstart.Cluster+"/"),
			strings.HasPrefix(r.URL.Path, "/rolecall/v1/"):
			d.routes.ServeHTTP(w, r)
		default:
			aws.ServeHTTP(w, r)
		}
	})
}

// auditLog has audit records be records of the log.
type auditLog struct {
	log *slog.Logger
	// refused is told what was refused, before anything is served.
	refused func(localaws.Decision)
}

// Write takes one record.
func (a *auditLog) Write(record []byte) (int, error) {
	a.log.Info("audit", "record", strings.TrimSpace(string(record)))
	var one door.Record
	if err := json.Unmarshal(record, &one); err == nil && one.Decision == "refused" && a.refused != nil {
		a.refused(refusalOf(&one))
	}
	return len(record), nil
}

// refusalOf is a refusal of the broker as local AWS keeps its own.
func refusalOf(one *door.Record) localaws.Decision {
	prefix := "eks:"
	if one.Event == "AssumeRoleForPodIdentity" {
		prefix = "eks-auth:"
	}
	decision := localaws.Decision{
		RequestID: one.RequestID, Time: one.Time, Action: prefix + one.Event, Account: quickstart.Account,
		Status: refusal.New(refusal.Code(one.Code), "").HTTPStatus(), Code: one.Code, Reason: one.Reason,
		Message: "refused by the broker",
	}
	if one.Namespace != "" {
		decision.Principal = token.ServiceAccountSubject(one.Namespace, one.ServiceAccount)
	}
	if one.AWSRequestID != "" {
		decision.Message += "; AWS refused it as request " + one.AWSRequestID
	}
	return decision
}

// serviceAccount is the account NAMESPACE/NAME, which has the same UID as long as
// it has that name: a plane's accounts are declared, and not created again.
func serviceAccount(name string) *corev1.ServiceAccount {
	namespace, account, _ := strings.Cut(name, "/")
	return &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account, UID: types.UID(namespace + "." + account)},
	}
}
