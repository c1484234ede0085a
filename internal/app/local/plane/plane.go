// Package plane starts the whole plane in one process on loopback ports and
// embedded stores - local AWS, issuer, webhook, broker, agent - and is its client: what an API
// server and a kubelet would do with it.
//
// It is not what runs in a cluster; there each server is a process of its own.
package plane

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/seed"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/manifest"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/store/boltstore"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/internal/webhook"
)

const (
	loopback     = "127.0.0.1"
	certLifetime = 30 * 24 * time.Hour
)

// Config says how to start a plane.
type Config struct {
	// AWSAddress is where local AWS listens; port 0 picks a free one.
	AWSAddress string
	// Manifests are files whose service accounts the plane knows, besides the
	// quickstart's.
	Manifests []string
	// DataDir keeps local AWS and the issuer's key; empty forgets them.
	DataDir string
	Now     func() time.Time
	Log     *slog.Logger
	// Explain is told every refusal of local AWS; nil tells nobody.
	Explain func(localaws.Decision)
	// STSErrors are the words in which STS refuses web identities.
	STSErrors sts.Errors
}

// Plane is a running plane.
type Plane struct {
	config    Config
	endpoints Endpoints
	admin     credential.AWS
	key       *token.Key
	keys      *token.KeySet
	roleARN   string
	// fresh says that the data folder did not have the quickstart yet.
	fresh    bool
	store    account.Store
	accounts *account.Set
	pods     *pods
	aws      *localaws.Server

	associations *boltstore.Store
	identity     *podIdentity
	stop         context.CancelFunc
	servers      *errgroup.Group
	failed       <-chan struct{}
}

// Start makes all parts, then starts them, then creates the quickstart's
// provider and role through the AWS SDK. A plane that could not be started
// leaves nothing behind.
func Start(ctx context.Context, config Config) (*Plane, error) {
	known, err := serviceAccounts(config.Manifests)
	if err != nil {
		return nil, err
	}
	p := &Plane{config: config}
	if err := p.openStores(ctx); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.servers, running = errgroup.WithContext(running)
	p.failed = running.Done()
	if err := p.startServers(running, known); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.provision(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.aws.Forget() // what was there already is nobody's question
	return p, nil
}

// Close stops the servers, waits for them and closes the stores.
func (p *Plane) Close() error {
	p.stop()
	return errors.Join(p.servers.Wait(), p.associations.Close(), p.store.Close())
}

// Failed is closed when a server ended by itself.
func (p *Plane) Failed() <-chan struct{} { return p.failed }

// Endpoints says how to reach the plane.
func (p *Plane) Endpoints() *Endpoints { return &p.endpoints }

// Admin returns the local administrator's key.
func (p *Plane) Admin() credential.AWS { return p.admin }

// Account returns the account's number.
func (p *Plane) Account() string { return quickstart.Account }

// Issuer returns the token issuer's URL.
func (p *Plane) Issuer() string { return quickstart.Issuer }

// KeySet returns the issuer's keys, for verifying its tokens.
func (p *Plane) KeySet() *token.KeySet { return p.keys }

// RoleARN returns the quickstart's role.
func (p *Plane) RoleARN() string { return p.roleARN }

// Audiences returns the client ids of the quickstart's provider: the seed's,
// and the one that service accounts have when they name none.
func (p *Plane) Audiences() []string {
	return []string{quickstart.Audience, inject.Defaults().Audience}
}

// ProviderARN returns the quickstart's OIDC provider.
func (p *Plane) ProviderARN() string {
	return arn.OIDCProvider("aws", quickstart.Account, quickstart.Issuer).String()
}

// accounts are annotations of service accounts by NAMESPACE/NAME.
type accounts map[string]map[string]string

// accountsPath is where an API server lists service accounts.
const accountsPath = "/api/v1/serviceaccounts"

// serve answers with the names of all accounts, in the form of an API server.
func (a accounts) serve(w http.ResponseWriter, _ *http.Request) {
	list := corev1.ServiceAccountList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccountList"}}
	for _, key := range slices.Sorted(maps.Keys(a)) {
		namespace, name, _ := strings.Cut(key, "/")
		list.Items = append(list.Items, corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		})
	}
	answerJSON(w, http.StatusOK, &list)
}

func (a accounts) static(settings inject.Settings) webhook.Static {
	named := map[inject.Name]map[string]string{}
	for key, annotations := range a {
		namespace, name, _ := strings.Cut(key, "/")
		named[inject.Name{Namespace: namespace, ServiceAccount: name}] = annotations
	}
	return webhook.NewStatic(named, settings)
}

// ServiceAccounts are the accounts, as NAMESPACE/NAME, that a plane would know which is
// started with these manifests.
func ServiceAccounts(files []string) ([]string, error) {
	known, err := serviceAccounts(files)
	return slices.Sorted(maps.Keys(known)), err
}

// serviceAccounts reads the quickstart's accounts and those of more files.
func serviceAccounts(files []string) (accounts, error) {
	sources := []manifest.Source{
		{Name: "quickstart", Text: quickstart.ServiceAccounts},
		{Name: "quickstart", Text: quickstart.PodIdentity},
	}
	for _, file := range files {
		more, err := manifest.ReadFiles(file)
		if err != nil {
			return nil, err
		}
		sources = append(sources, more...)
	}
	found, err := manifest.ServiceAccounts(sources)
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (p *Plane) openStores(ctx context.Context) (err error) {
	if err := p.openAccounts(ctx); err != nil {
		return err
	}
	if p.associations, err = openAssociations(ctx, &p.config); err != nil {
		return errors.Join(err, p.store.Close())
	}
	return nil
}

func (p *Plane) openAccounts(ctx context.Context) (err error) {
	if p.config.DataDir == "" {
		p.store = account.NewMemory()
		p.key, err = token.GenerateRSA(token.MinRSABits)
		return err
	}
	if p.store, err = account.Open(ctx, p.config.DataDir); err != nil {
		return err
	}
	if p.key, err = loadKey(filepath.Join(p.config.DataDir, "issuer.key")); err != nil {
		return errors.Join(err, p.store.Close())
	}
	return nil
}

// loadKey reads the issuer's key, or makes one.
func loadKey(path string) (*token.Key, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		key, err := token.ParsePrivateKey(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read the issuer's key %s: %w", path, err).
				Hint("move the file away to have a new key made")
		}
		return key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Unavailable, "read the issuer's key: %w", err)
	}
	key, err := token.GenerateRSA(token.MinRSABits)
	if err != nil {
		return nil, err
	}
	if text, err = key.PEM(); err != nil {
		return nil, err
	}
	if err := writeFile(path, text); err != nil {
		return nil, fault.New(fault.Unavailable, "write the issuer's key: %w", err)
	}
	return key, nil
}

// startServers listens, makes all parts, which must know where the others are,
// and serves.
func (p *Plane) startServers(ctx context.Context, known accounts) (err error) {
	now := p.config.Now()
	authority, err := pki.NewAuthority("rolecall local plane", now, certLifetime)
	if err != nil {
		return err
	}
	issuerURL, err := url.Parse(quickstart.Issuer)
	if err != nil {
		return err
	}
	tls, err := authority.ServingConfig(now, certLifetime, issuerURL.Hostname(), loopback)
	if err != nil {
		return err
	}
	at, err := listenAll(ctx, p.config.AWSAddress)
	if err != nil {
		return err
	}
	defer at.closeUnserved()
	p.endpoints = Endpoints{
		PID:     os.Getpid(),
		Region:  quickstart.Region,
		Bearer:  server.NewBearer(),
		CA:      authority.PEM(),
		AWS:     "http://" + at.aws.address.String(),
		Tokens:  "https://" + at.issuer.address.String(),
		Webhook: "https://" + at.webhook.address.String() + "/mutate",
		Agent:   "http://" + at.agent.address.String() + agent.Path,
	}
	accounts, err := p.openLocalAccount(now)
	if err != nil {
		return err
	}
	p.pods = newPods()
	if err := p.newPodIdentity(known, p.endpoints.AWS, at.agent.address.Addr()); err != nil {
		return err
	}
	p.pods.put, p.pods.removed = p.identity.objects.PutPod, p.identity.objects.RemovePod
	issuerHandler, err := p.issuerHandler(known)
	if err != nil {
		return err
	}
	hooks, err := p.webhooks(known)
	if err != nil {
		return err
	}
	p.aws = localaws.New(localaws.Config{
		Accounts:  accounts,
		Region:    quickstart.Region,
		Now:       p.config.Now,
		Log:       p.config.Log,
		Explain:   p.config.Explain,
		STSErrors: p.config.STSErrors,
		Issuers: sts.IssuerAccess{
			Endpoints: map[string]string{issuerURL.Hostname(): at.issuer.address.String()},
			RootCAs:   authority.Pool(),
		},
	})
	p.identity.audit.refused = p.aws.Note
	p.serve(ctx, &at.issuer, &httpserve.Server{Name: "issuer", Handler: issuerHandler, TLS: tls, Log: p.config.Log})
	p.serve(ctx, &at.webhook, &httpserve.Server{Name: "webhook", Handler: hooks, TLS: tls, Log: p.config.Log})
	p.serve(ctx, &at.aws, &httpserve.Server{Name: "aws", Handler: p.identity.beside(p.aws), Log: p.config.Log})
	p.serve(ctx, &at.agent, &httpserve.Server{Name: "agent", Handler: p.identity.agent, Log: p.config.Log})
	p.identity.run(ctx, p.servers.Go)
	return nil
}

// openLocalAccount opens the account and finds its administrator's key.
func (p *Plane) openLocalAccount(now time.Time) (*account.Set, error) {
	set, err := account.NewSet(p.store, []string{quickstart.Account}, now)
	if err != nil {
		return nil, err
	}
	if p.admin, err = set.Default().AdminKey(); err != nil {
		return nil, fault.New(fault.Invalid, "account %s: its user %s has no active access key", quickstart.Account,
			account.Admin).
			Hint("the plane needs it; choose another folder with --data")
	}
	p.accounts = set
	return set, p.seed(set, now)
}

// seed brings in the AWS side of the quickstart, unless the data folder has it:
// then it is the user's, and stays as it is.
func (p *Plane) seed(set *account.Set, now time.Time) error {
	err := set.View(func(state account.State) error {
		_, err := state.Role(quickstart.PodIdentityRole)
		return err
	})
	if !errors.Is(err, account.ErrNotFound) {
		return err
	}
	p.fresh = true
	declared, err := seed.Parse("quickstart", quickstart.AWS)
	if err != nil {
		return err
	}
	return seed.Apply(set, declared, now)
}

// webhooks are the webhook as a cluster has it, and those of the ways that may be
// chosen below their names: /irsa does not know associations, /pod-identity knows
// those, too, that are held for running programs.
func (p *Plane) webhooks(known accounts) (http.Handler, error) {
	settings := inject.Defaults()
	settings.Region, settings.RegionalSTS = quickstart.Region, true // as EKS runs it
	settings.Container.URI = p.endpoints.Agent
	mux := http.NewServeMux()
	for prefix, associations := range map[string]*webhook.Associations{
		"":                           webhook.EmbeddedAssociations(lasting{p.associations}),
		"/" + string(ViaIRSA):        nil,
		"/" + string(ViaPodIdentity): webhook.EmbeddedAssociations(p.associations),
	} {
		made, err := webhook.New(webhook.Config{
			Settings: settings, ServiceAccounts: known.static(settings), Associations: associations,
			Metrics: prometheus.NewRegistry(), Log: p.config.Log, Now: p.config.Now,
		})
		if err != nil {
			return nil, err
		}
		mux.Handle(prefix+"/", http.StripPrefix(prefix, made))
	}
	return mux, nil
}

// issuerHandler serves the public documents, and TokenRequests for the plane's
// owner.
func (p *Plane) issuerHandler(known accounts) (http.Handler, error) {
	documents, err := server.NewDocuments(quickstart.Issuer, p.public())
	if err != nil {
		return nil, err
	}
	if p.keys, err = token.NewKeySet(p.public()...); err != nil {
		return nil, err
	}
	tokens := &server.Tokens{
		Issuer: quickstart.Issuer, Key: p.key, Bearer: p.endpoints.Bearer, Now: p.config.Now, Log: p.config.Log,
		Exists: func(namespace, name string) (string, bool) {
			_, found := known[namespace+"/"+name]
			return namespace + "." + name, found
		},
		Pod: p.pods.bound,
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", tokens.Handler())
	held := newTemporary(p.associations)
	for pattern, serve := range map[string]http.HandlerFunc{
		"GET " + accountsPath:                               known.serve,
		"POST /api/v1/namespaces/{namespace}/pods":          p.pods.create,
		"DELETE /api/v1/namespaces/{namespace}/pods/{name}": p.pods.remove,
		"POST " + holdersPath:                               held.serveHold,
		"DELETE " + holdersPath + "/{holder}":               held.serveRelease,
	} {
		mux.Handle(pattern, p.ownerOnly(serve))
	}
	mux.Handle("/", documents)
	return mux, nil
}

// ownerOnly is for who has the plane's bearer token.
func (p *Plane) ownerOnly(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !isBearer || !p.endpoints.Bearer.Equal(credential.NewSecret(shown)) {
			answerStatus(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
			return
		}
		next(w, r)
	})
}

func (p *Plane) public() []crypto.PublicKey { return []crypto.PublicKey{p.key.Public()} }

// provision creates the quickstart's provider, role and bucket, unless the data
// folder has them: then they are the user's, and stay as they are.
func (p *Plane) provision(ctx context.Context) error {
	iam := awsapi.NewIAM(p.endpoints.AWS, p.endpoints.Region, p.admin)
	if err := iam.EnsureProvider(ctx, quickstart.Issuer, p.ProviderARN(), p.Audiences()); err != nil {
		return fmt.Errorf("create the quickstart's OIDC provider: %w", err)
	}
	roleARN, err := iam.EnsureRole(ctx, quickstart.Role, string(quickstart.TrustPolicy), "the quickstart's role")
	if err != nil {
		return fmt.Errorf("create the quickstart's role: %w", err)
	}
	p.roleARN = roleARN
	if !p.fresh {
		return nil
	}
	if err := awsapi.PutLocalObject(ctx, p.endpoints.AWS, p.endpoints.Region, p.admin,
		quickstart.Bucket, quickstart.Object, quickstart.Content); err != nil {
		return fmt.Errorf("create the quickstart's bucket: %w", err)
	}
	return nil
}
