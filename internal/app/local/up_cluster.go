package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/crds"
	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/app/local/controlplane"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/app/program"
	"github.com/rolecall/rolecall/internal/fault"
)

// realCluster is a real API server beside the plane, and the servers of ours that it needs
// for people: each a process of its own, as in a cluster.
type realCluster struct {
	control *controlplane.ControlPlane
	dir     string
	// temporary says that dir goes with the cluster.
	temporary bool
	servers   []*program.Process
}

// serverPatience is how long a server of ours may take to start.
const serverPatience = 30 * time.Second

// startCluster starts one whose people are those of local AWS.
func startCluster(
	ctx context.Context, sys cli.System, options planeOptions, started *plane.Plane,
) (c *realCluster, err error) {
	programs, err := controlplane.Find(ctx, options.clusterPrograms, sys.Getenv, sys.Stderr)
	if err != nil {
		return nil, err
	}
	c = &realCluster{}
	if err := c.makeFolder(options.dataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	key, err := started.KeyPEM()
	if err != nil {
		return nil, err
	}
	c.control, err = controlplane.Prepare(ctx, controlplane.Config{
		Programs: programs, Dir: c.dir, Name: quickstart.Cluster, Issuer: started.Issuer(), Key: key, Now: sys.Now(),
	})
	if err != nil {
		return nil, err
	}
	webhook, err := c.startAuthenticator(ctx, sys, started)
	if err != nil {
		return nil, err
	}
	if err := c.control.Start(ctx, webhook); err != nil {
		return nil, err
	}
	if err := provisionCluster(ctx, c.control, started.AdminARN()); err != nil {
		return nil, err
	}
	if err := c.startController(ctx, sys, started); err != nil {
		return nil, err
	}
	return c, started.SetEndpoint(c.control.URL, c.control.CA)
}

func (c *realCluster) makeFolder(data string) (err error) {
	if data == "" {
		c.temporary = true
		if c.dir, err = os.MkdirTemp("", "rolecall-cluster-"); err != nil {
			return fault.New(fault.Unavailable, "%w", err)
		}
		return nil
	}
	if c.dir, err = filepath.Abs(filepath.Join(data, "cluster")); err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}

// serve starts a server of ours; what it logs goes to a file.
func (c *realCluster) serve(
	ctx context.Context, sys cli.System, started *plane.Plane, name string, args ...string,
) (*program.Process, error) {
	self, err := sys.Executable()
	if err != nil {
		return nil, fault.New(fault.Internal, "find this program: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	p, err := program.Start(ctx, program.Command{
		Path: self, Args: append([]string{"serve", name}, args...), Log: log,
		Env: append(sys.Environ(), flags.Exports(started.Endpoints().AWS, started.Endpoints().Region, started.Admin())...),
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	go func() {
		<-p.Ended()
		_ = log.Close()
	}()
	c.servers = append(c.servers, p)
	return p, nil
}

// startAuthenticator returns the file that tells API servers where it is.
func (c *realCluster) startAuthenticator(ctx context.Context, sys cli.System, started *plane.Plane) (string, error) {
	dir := filepath.Join(c.dir, "authenticator")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fault.New(fault.Unavailable, "%w", err)
	}
	webhook := filepath.Join(dir, "webhook.yaml")
	if err := os.Remove(webhook); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.Unavailable, "%w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	health, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	p, err := c.serve(ctx, sys, started, "authenticator", "--cluster-id="+quickstart.Cluster,
		"--port="+port, "--health-port="+health, "--state-dir="+dir, "--generate-kubeconfig="+webhook,
		"--kubeconfig="+c.control.Kubeconfig, "--backend-mode=EKSConfigMap", "--shutdown-delay=0s")
	if err != nil {
		return "", err
	}
	return webhook, untilFile(ctx, p, webhook)
}

func (c *realCluster) startController(ctx context.Context, sys cli.System, started *plane.Plane) error {
	_, err := c.serve(ctx, sys, started, "controller", "--kubeconfig="+c.control.Kubeconfig, "--without-leader-election",
		"--metrics-listen=127.0.0.1:0", "--access-entries", "--group-mappings", "--group-sync-period=5s")
	return err
}

// Failed is closed when a part ended by itself.
func (c *realCluster) Failed() <-chan struct{} {
	failed := make(chan struct{})
	var once sync.Once
	stop := func() { once.Do(func() { close(failed) }) }
	go func() {
		<-c.control.Failed()
		stop()
	}()
	for _, p := range c.servers {
		go func() {
			<-p.Ended()
			stop()
		}()
	}
	return failed
}

// ended says which part ended by itself, and what it said last.
func (c *realCluster) ended() error {
	for _, p := range c.servers {
		if err := p.Check(); err != nil {
			return fault.New(fault.Unavailable, "%w", err)
		}
	}
	return c.control.Check()
}

// help is what people read about it; nothing of none.
func (c *realCluster) help() string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf(`cluster    %s   its logs: %s
           kubectl is its administrator with the KUBECONFIG below; with an IAM identity:
           rolecall kubeconfig update --name %s --alias me && kubectl auth whoami
`, c.control.URL, c.dir, quickstart.Cluster)
}

// Close stops everything, and forgets it unless a data folder was named.
func (c *realCluster) Close() {
	for _, p := range c.servers {
		p.Stop()
	}
	if c.control != nil {
		c.control.Stop()
	}
	if c.temporary {
		_ = os.RemoveAll(c.dir)
	}
}

// provisionCluster makes the API server know the product's kinds, lets in the one who made
// the cluster as EKS does, and does for the roles view, edit and admin once what a controller
// manager does all the time.
func provisionCluster(ctx context.Context, control *controlplane.ControlPlane, creator string) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(rbacv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	api, err := client.New(control.Admin, client.Options{Scheme: scheme})
	if err != nil {
		return fault.New(fault.Unavailable, "reach the API server: %w", err)
	}
	for _, name := range []string{"view", "edit", "admin"} { // each is a part of the next
		if err := aggregate(ctx, api, name); err != nil {
			return fault.New(fault.Unavailable, "ClusterRole %s: %w", name, err)
		}
	}
	if err := applyDefinitions(ctx, api); err != nil {
		return err
	}
	return letIn(ctx, api, creator)
}

// creatorEntry is the access entry of who made the cluster.
const creatorEntry = "cluster-creator"

// letIn makes an administrator of the cluster, as EKS does of its creator. What is there of
// a data folder stays.
func letIn(ctx context.Context, api client.Client, principal string) error {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	for {
		err := api.Create(ctx, &v1alpha1.AccessEntry{
			ObjectMeta: metav1.ObjectMeta{Name: creatorEntry},
			Spec: v1alpha1.AccessEntrySpec{
				Principal:      v1alpha1.Principal{ARN: principal},
				Type:           v1alpha1.StandardEntry,
				AccessPolicies: []v1alpha1.AccessPolicy{{Policy: "AmazonEKSClusterAdminPolicy", Scope: v1alpha1.ClusterScope}},
			},
		})
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		if !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
			return fault.New(fault.Unavailable, "AccessEntry %s: %w", creatorEntry, err)
		}
		select { // the API server does not serve the kind yet
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "AccessEntry %s: %w", creatorEntry, err)
		case <-time.After(readyPause):
		}
	}
}

const readyPause = 50 * time.Millisecond

// aggregate gives a ClusterRole the rules of those that it selects.
func aggregate(ctx context.Context, api client.Client, name string) error {
	var (
		role rbacv1.ClusterRole
		all  rbacv1.ClusterRoleList
	)
	if err := api.Get(ctx, client.ObjectKey{Name: name}, &role); err != nil {
		return err
	}
	if role.AggregationRule == nil {
		return nil
	}
	if err := api.List(ctx, &all); err != nil {
		return err
	}
	role.Rules = nil
	for _, wanted := range role.AggregationRule.ClusterRoleSelectors {
		selects, err := metav1.LabelSelectorAsSelector(&wanted)
		if err != nil {
			return err
		}
		for i := range all.Items {
			if part := &all.Items[i]; part.Name != name && selects.Matches(labels.Set(part.Labels)) {
				role.Rules = append(role.Rules, part.Rules...)
			}
		}
	}
	return api.Update(ctx, &role)
}

func applyDefinitions(ctx context.Context, api client.Client) error {
	names, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := crds.Files.ReadFile(name)
		if err != nil {
			return err
		}
		wanted := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(text, &wanted.Object); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := applyDefinition(ctx, api, wanted); err != nil {
			return fault.New(fault.Unavailable, "%s: %w", name, err)
		}
	}
	return nil
}

func applyDefinition(ctx context.Context, api client.Client, wanted *unstructured.Unstructured) error {
	err := api.Create(ctx, wanted.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	there := &unstructured.Unstructured{} // of a data folder
	there.SetGroupVersionKind(wanted.GroupVersionKind())
	if err := api.Get(ctx, client.ObjectKeyFromObject(wanted), there); err != nil {
		return err
	}
	there.Object["spec"] = wanted.Object["spec"]
	return api.Update(ctx, there)
}

// untilFile waits for what a server writes when it serves.
func untilFile(ctx context.Context, p *program.Process, path string) error {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	err := program.Until(ctx, path, func(context.Context) error {
		_, err := os.Stat(path)
		return err
	}, p)
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}

// freePort is one of the loopback that nobody listened at a moment ago.
func freePort(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fault.New(fault.Unavailable, "choose a port: %w", err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, errors.Join(err, listener.Close())
}
