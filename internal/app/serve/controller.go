package serve

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/event"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/awsapi"
	associationcontroller "github.com/rolecall/rolecall/internal/controller/association"
	issuercontroller "github.com/rolecall/rolecall/internal/controller/issuer"
	"github.com/rolecall/rolecall/internal/controller/missed"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/issuer/observe"
)

// controllerConfig is what `serve controller` needs.
type controllerConfig struct {
	kube          flags.Kube
	metricsListen string
	// namespace is where the Lease lies; noElection runs without one.
	namespace  string
	noElection bool
	every      time.Duration
	// findMissed looks for pods without their identity, and restartMissed has them evicted.
	findMissed, restartMissed bool
	prefix                    string
	groups                    groupFlags
	access                    accessFlags
	read                      flags.IssuerReader
	plane                     planeFlags
	logs                      flags.Logs
}

func newController(sys cli.System) *cobra.Command {
	var c controllerConfig
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Reconcile Issuers, and the status of Pod Identity associations",
		Long: `Publish the keys of all API servers as each Issuer object says, keep IAM's providers
in step, check what is published as STS does, and rotate keys step by step: the Secret
of an Issuer holds what the API servers must have, and the controller goes on when they
have it. With --cluster-name, write into the status of each PodIdentityAssociation
whether its pods can get their role. With --access-entries, make the access policies of
AccessEntries RBAC, and keep the status of AccessEntries and IdentityMappings; with
--group-mappings, keep the members of IAM groups in the status of GroupMappings. Several
may run; one leads, by a Lease.`,
		Example: `  rolecall serve controller
  rolecall serve controller --cluster-name prod --cluster-account 111122223333 --cluster-region eu-west-1 \
    --issuer https://oidc.example.com/prod`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd, sys) },
	}
	f := cmd.Flags()
	f.StringVar(&c.metricsListen, "metrics-listen", ":9998",
		"where to serve /metrics, /healthz and /readyz, plain HTTP")
	f.StringVar(&c.namespace, "leader-election-namespace", "rolecall-system", "namespace of the Lease")
	f.BoolVar(&c.noElection, "without-leader-election", false, "lead without a Lease; only one may run")
	f.DurationVar(&c.every, "every", time.Minute, "how often API servers and readers are looked at")
	f.BoolVar(&c.findMissed, "find-missed", true,
		"with --cluster-name, look for pods that run without the identity of their service account: an Event on the "+
			"pod, a condition on the association")
	f.BoolVar(&c.restartMissed, "restart-missed", false,
		"evict pods that --find-missed finds, if their owner makes them again")
	f.StringVar(&c.prefix, "annotation-prefix", inject.Defaults().Prefix,
		"the webhook's --annotation-prefix, for --find-missed")
	c.groups.add(cmd)
	c.access.add(cmd)
	c.read.Add(cmd)
	c.plane.flags(cmd)
	c.kube.Add(cmd)
	c.logs.Add(cmd)
	return cmd
}

func (c *controllerConfig) run(cmd *cobra.Command, sys cli.System) error {
	if err := c.plane.file.Read(cmd); err != nil {
		return err
	}
	switch {
	case c.every <= 0:
		return fault.New(fault.Usage, "--every %s: want more than nothing", c.every)
	case c.restartMissed && !c.findMissed:
		return fault.New(fault.Usage, "--restart-missed needs --find-missed")
	}
	if err := c.groups.check(cmd); err != nil {
		return err
	}
	if err := c.access.check(); err != nil {
		return err
	}
	log, err := c.logs.Logger(sys)
	if err != nil {
		return err
	}
	// What controller-runtime says of itself goes where the rest is.
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	r := newRunner(log)
	r.registry = prometheus.NewRegistry() // the process's own metrics are in controller-runtime's
	return r.run(cmd.Context(), func(ctx context.Context) error { return c.makeParts(ctx, cmd, sys, r) })
}

func (c *controllerConfig) makeParts(ctx context.Context, cmd *cobra.Command, sys cli.System, r *runner) error {
	reader, err := c.read.Reader()
	if err != nil {
		return err
	}
	_, named, err := c.plane.plane()
	if err != nil {
		return err
	}
	kube, err := c.kube.Config()
	if err != nil {
		return err
	}
	manager, err := c.manager(sys, kube, reader, r)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(kube)
	if err != nil {
		return err
	}
	r.add(checkPermissions("controller", c.permissions(named), neededBy, client, r.log))
	if named {
		r.agree(roleController, c.plane.file.Effective(cmd), client)
	}
	r.add(manager.Start)
	// One that waits to lead watches nothing yet, and is ready to.
	r.check(func(ctx context.Context) error {
		if !manager.GetCache().WaitForCacheSync(ctx) {
			return errors.New("what is watched has not been read yet")
		}
		return nil
	})
	routes := http.NewServeMux()
	routes.Handle("GET /metrics",
		promhttp.HandlerFor(prometheus.Gatherers{r.registry, ctrlmetrics.Registry}, promhttp.HandlerOpts{}))
	r.probes(routes)
	return r.listenAll(ctx, []listening{{c.metricsListen, httpserve.Server{Name: "metrics", Handler: routes}}})
}

func (c *controllerConfig) manager(
	sys cli.System, kube *rest.Config, reader *observe.Reader, r *runner,
) (ctrl.Manager, error) {
	registry, log := r.registry, r.log
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	watches := &controllerWatches{now: sys.Now, added: r.watching, byKind: map[string]*follow.Watch{}}
	if c.access.on { // a policy of many namespaces is many bindings
		kube = rest.CopyConfig(kube)
		kube.QPS, kube.Burst = 200, 400
	}
	again := true // controllers of one name, in one process, are a test's
	manager, err := ctrl.NewManager(kube, ctrl.Options{
		Scheme: scheme, Logger: logr.FromSlogHandler(log.Handler()),
		Cache:          cache.Options{NewInformer: watches.informer, ByObject: c.access.cached()},
		Metrics:        metricsserver.Options{BindAddress: "0"}, // served with ours
		LeaderElection: !c.noElection, LeaderElectionID: "rolecall-controller", LeaderElectionNamespace: c.namespace,
		LeaderElectionReleaseOnCancel: true,
		Controller:                    config.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "make the controller: %w", err)
	}
	objects, err := kubernetes.NewForConfig(kube)
	if err != nil {
		return nil, err
	}
	sure := sureClient{manager.GetClient(), manager.GetAPIReader(), watches}
	reconciler := &issuercontroller.Reconciler{
		Client: sure, Objects: objects, Config: kube, Reader: reader,
		Events: manager.GetEventRecorder("rolecall-issuer"), Metrics: issuercontroller.NewMetrics(registry),
		Log: log, Now: sys.Now, Every: c.every,
	}
	if err := reconciler.Setup(manager); err != nil {
		return nil, err
	}
	if err := c.groups.reconcile(sys.Now, manager, sure, registry, log); err != nil {
		return nil, err
	}
	if err := c.access.reconcile(sys, manager, sure, registry, log); err != nil {
		return nil, err
	}
	return manager, c.associations(sys, manager, sure, registry, log)
}

// associations adds their controller, if the cluster has a name.
func (c *controllerConfig) associations(
	sys cli.System, manager ctrl.Manager, sure client.Client, registry *prometheus.Registry, log *slog.Logger,
) error {
	plane, named, err := c.plane.plane()
	if err != nil || !named {
		return err
	}
	finder, news, err := c.finder(sys, manager, registry, log)
	if err != nil {
		return err
	}
	reconciler := &associationcontroller.Reconciler{
		Client:  sure,
		Plane:   plane,
		Grants:  c.plane.bounds.GrantSet,
		Roles:   &associationcontroller.EnvironmentRoles{Own: &awsapi.Own{Now: sys.Now}},
		Events:  manager.GetEventRecorder("rolecall-association"),
		Metrics: associationcontroller.NewMetrics(registry), Log: log, Every: c.plane.every, Now: sys.Now,
	}
	if finder != nil {
		reconciler.News, reconciler.Missed = news, func(name types.NamespacedName) (pods []string) {
			for _, pod := range finder.Missed(name) {
				pods = append(pods, pod.Name)
			}
			return pods
		}
	}
	return reconciler.Setup(manager)
}

// newsOfMissed is how many associations wait to be looked at because of their pods; when
// there is no room they are looked at in their turn.
const newsOfMissed = 1024

// finder looks for pods without their identity, where it leads; nil if it is told not to.
func (c *controllerConfig) finder(
	sys cli.System, manager ctrl.Manager, registry *prometheus.Registry, log *slog.Logger,
) (*missed.Finder, <-chan event.GenericEvent, error) {
	if !c.findMissed {
		return nil, nil, nil
	}
	objects, err := kubernetes.NewForConfig(manager.GetConfig())
	if err != nil {
		return nil, nil, err
	}
	associations, err := dynamic.NewForConfig(manager.GetConfig())
	if err != nil {
		return nil, nil, err
	}
	settings := inject.Defaults()
	settings.Prefix = c.prefix
	news := make(chan event.GenericEvent, newsOfMissed)
	finder := missed.New(missed.Config{
		Client:       objects,
		Associations: associations,
		Settings:     settings,
		Changed: func(name types.NamespacedName) {
			changed := event.GenericEvent{Object: &v1alpha1.PodIdentityAssociation{
				ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
			}}
			select {
			case news <- changed:
			default:
			}
		},
		Restart: c.restartMissed,
		Metrics: registry,
		Log:     log,
		Now:     sys.Now,
	})
	return finder, news, manager.Add(ctrlmanager.RunnableFunc(finder.Run))
}
