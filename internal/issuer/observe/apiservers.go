package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/token"
)

// APIServer is one API server of a cluster, reached by itself and not through a
// load balancer: while keys rotate, they differ.
type APIServer struct {
	Name   string
	client kubernetes.Interface
	http   *http.Client
	host   string
}

// Asked is what one API server said.
type Asked struct {
	inspect.ServerKeys
	// Token is one it has just signed; zero if it was not asked for one.
	Token credential.Secret
	// Skew is its clock minus ours, to the second.
	Skew time.Duration
}

// probeSeconds is the shortest lifetime there is.
const probeSeconds = 600

// NewAPIServer returns the API server at the config's host.
func NewAPIServer(config *rest.Config) (*APIServer, error) {
	// One request decides about a rotation, so it must go to this API server
	// and to nobody that a connection was left open to.
	config = rest.CopyConfig(config)
	config.Timeout = 10 * time.Second
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reach API server %s: %w", config.Host, err)
	}
	client, err := kubernetes.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("reach API server %s: %w", config.Host, err)
	}
	return &APIServer{Name: config.Host, client: client, http: httpClient, host: config.Host}, nil
}

// FindAPIServers returns all API servers of a cluster: those of the given URLs,
// or else those that have registered themselves behind the Service kubernetes, or
// else the config's own.
func FindAPIServers(ctx context.Context, config *rest.Config, urls []string) ([]*APIServer, error) {
	var configs []*rest.Config
	for _, url := range urls {
		one := rest.CopyConfig(config)
		one.Host = url
		configs = append(configs, one)
	}
	if len(urls) == 0 {
		registered, err := registered(ctx, config)
		if err != nil {
			return nil, err
		}
		configs = registered
	}
	servers := make([]*APIServer, 0, len(configs))
	for _, one := range configs {
		server, err := NewAPIServer(one)
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// registered reads the endpoints of the Service kubernetes. With one API server,
// or none registered, the config's address is as good.
func registered(ctx context.Context, config *rest.Config) ([]*rest.Config, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reach API server %s: %w", config.Host, err)
	}
	found, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx,
		metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=kubernetes"})
	if err != nil {
		return nil, fmt.Errorf("find the API servers: %w", err)
	}
	var configs []*rest.Config
	for _, slice := range found.Items {
		for _, endpoint := range slice.Endpoints {
			for _, port := range slice.Ports {
				if len(endpoint.Addresses) == 0 || port.Port == nil {
					continue
				}
				one := rest.CopyConfig(config)
				one.Host = "https://" + net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*port.Port)))
				one.ServerName = "kubernetes.default.svc"
				configs = append(configs, one)
			}
		}
	}
	if len(configs) < 2 {
		return []*rest.Config{config}, nil
	}
	return configs, nil
}

// AskAll asks all API servers at the same time; answers are in their order.
func AskAll(ctx context.Context, servers []*APIServer, probe plan.Probe, now func() time.Time) []Asked {
	answers := make([]Asked, len(servers))
	var wait sync.WaitGroup
	for i, server := range servers {
		wait.Go(func() { answers[i] = server.Ask(ctx, probe, now) })
	}
	wait.Wait()
	return answers
}

// Ask returns the keys that the API server accepts, and a token of it. Without
// a service account no token is asked for.
func (s *APIServer) Ask(ctx context.Context, probe plan.Probe, now func() time.Time) Asked {
	asked := Asked{ServerKeys: inspect.ServerKeys{Name: s.Name}}
	if err := s.keys(ctx, &asked, now); err != nil {
		asked.Err = err.Error()
		return asked
	}
	if probe.ServiceAccount == "" {
		return asked
	}
	if err := s.sign(ctx, probe, &asked); err != nil {
		asked.Err = err.Error()
	}
	return asked
}

func (s *APIServer) keys(ctx context.Context, asked *Asked, now func() time.Time) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.host+"/openid/v1/jwks", nil)
	if err != nil {
		return err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxDocument))
	switch {
	case err != nil:
		return fmt.Errorf("read its keys: %w", err)
	case response.StatusCode == http.StatusNotFound:
		return errors.New("it serves no keys: its first --service-account-issuer is not an https URL")
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("read its keys: status %d", response.StatusCode)
	}
	if asked.Keys, err = token.ReadJWKS(text); err != nil {
		return fmt.Errorf("read its keys: %w", err)
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		asked.Skew = date.Sub(now()).Truncate(time.Second)
	}
	return nil
}

func (s *APIServer) sign(ctx context.Context, probe plan.Probe, asked *Asked) error {
	seconds := int64(probeSeconds)
	answer, err := s.client.CoreV1().ServiceAccounts(probe.Namespace).CreateToken(ctx, probe.ServiceAccount,
		&authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{Audiences: []string{probe.Audience}, ExpirationSeconds: &seconds},
		}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask it for a token of %s/%s: %w", probe.Namespace, probe.ServiceAccount, err)
	}
	asked.Token = credential.NewSecret(answer.Status.Token)
	decoded, err := token.Decode(answer.Status.Token)
	if err != nil {
		return fmt.Errorf("read its token: %w", err)
	}
	asked.Signs = decoded.Header.KeyID
	_ = json.Unmarshal(decoded.Claims["iss"], &asked.Issuer) // empty unless it is a string
	return nil
}

// Union returns the keys of all API servers, for publishing: what any of them
// accepts. One that cannot be read is an error: its keys may be others.
func Union(asked []Asked) ([]token.PublicKey, error) {
	sets := make([][]token.PublicKey, 0, len(asked))
	for _, one := range asked {
		if one.Err != "" {
			return nil, fmt.Errorf("API server %s cannot be read, and may sign with a key of its own: %s",
				one.Name, one.Err)
		}
		sets = append(sets, one.Keys)
	}
	return document.Union(sets...)
}

// Signing returns the kids that API servers sign with.
func Signing(asked []Asked) []string {
	var kids []string
	for _, one := range asked {
		if one.Signs != "" {
			kids = append(kids, one.Signs)
		}
	}
	slices.Sort(kids)
	return slices.Compact(kids)
}
