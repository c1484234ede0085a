package issuercmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/apiserverflags"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/bucket"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/planefile"
	"github.com/rolecall/rolecall/internal/token"
)

// initConfig is what `issuer init` needs.
type initConfig struct {
	dir     dirFlag
	cluster flags.APIServers
	read    flags.IssuerReader
	// name is the issuer's and the cluster's.
	name, url                     string
	bucket, region, prefix, style string
	directory                     string
	// owner is the bucket's; addStatement lets the policy of one that exists be added to.
	owner                         string
	addStatement, dryRun, yes     bool
	audiences, roles, thumbprints []string
	distribution, present         string
	namespace                     string
	publicKeys                    []string
	kind                          string
	maxAge                        time.Duration
	withoutProvider               bool
	// jwksPath and emptyIDs replace what issuer.yaml says, if they are given.
	jwksPath string
	emptyIDs bool
	readBack time.Duration
	// given says whether a flag was: what was not does not change issuer.yaml.
	given func(flag string) bool
}

func newIssuerInit(sys cli.System) *cobra.Command {
	var c initConfig
	cmd := &cobra.Command{
		Use:   "init --name CLUSTER (--bucket NAME --region REGION | --url URL --directory PATH) [--for DISTRIBUTION]",
		Short: "Make an issuer: keys, published documents, IAM provider, API server settings",
		Long: `Make everything that a cluster needs to be an identity provider for AWS, and write it
to --dir. What exists already is kept, so that the command can be run again.

Keys are those of the running cluster (--kubeconfig), of PEM files (--public-key), or
new ones: sa.key and sa.pub. They are published in an S3 bucket, which is created, or
in a folder that your own server serves. IAM gets an OIDC provider in the account of
the credentials and in those of --provider-role. The API server settings for the
distribution are printed and written as a patch; the present issuer comes second.`,
		Example: `  rolecall issuer init --name prod --bucket example-oidc --region eu-west-1 \
    --kubeconfig admin.conf --for kubeadm
  rolecall issuer init --name prod --url https://oidc.example.com/prod --directory /srv/oidc/prod --without-provider`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.given = cmd.Flags().Changed
			if err := c.dir.plane.Read(cmd); err != nil {
				return err
			}
			if err := c.validate(); err != nil {
				return err
			}
			return c.run(cmd.Context(), sys)
		},
	}
	c.dir.flags(cmd)
	c.dir.plane.Bind("name", planefile.ClusterName)
	c.dir.plane.Bind("region", planefile.Region)
	c.dir.plane.Bind("url", planefile.TokenIssuer)
	c.cluster.Add(cmd)
	c.read.Add(cmd)
	f := cmd.Flags()
	f.StringVar(&c.name, "name", "", "name of the cluster, and of the issuer")
	f.StringVar(&c.url, "url", "", "issuer URL (default: that of the bucket)")
	f.StringVar(&c.bucket, "bucket", "", "S3 bucket to publish in; created if it does not exist")
	f.StringVar(&c.owner, "bucket-owner", "",
		"account that must own the bucket (default: that of the credentials)")
	f.BoolVar(&c.addStatement, "add-statement", false,
		"let one statement be added to the policy of a bucket that init did not make, which opens the two documents")
	f.BoolVar(&c.dryRun, "dry-run", false, "print what would be made and changed, and change nothing")
	f.BoolVar(&c.yes, "yes", false,
		"replace documents that others have published for this issuer, although parts of them are lost")
	f.StringVar(&c.region, "region", "", "region of the bucket")
	f.StringVar(&c.prefix, "prefix", "", "prefix in the bucket, for several clusters in one")
	f.StringVar(&c.style, "style", "",
		"where the bucket is in the URL: virtual, path or dualstack; never change it later")
	f.StringVar(&c.directory, "directory", "",
		"folder to publish in instead, for \"rolecall serve issuer\" or your own server")
	f.StringArrayVar(&c.audiences, "audience", []string{"sts.amazonaws.com"},
		"audience of the provider; may be repeated")
	f.StringArrayVar(&c.roles, "provider-role", nil,
		"role to assume in another account, which gets a provider too; may be repeated")
	f.StringArrayVar(&c.thumbprints, "thumbprint", nil,
		"thumbprint of the provider, for certificates that are not publicly trusted; may be repeated")
	f.BoolVar(&c.withoutProvider, "without-provider", false, "do not create an IAM provider")
	f.StringVar(&c.distribution, "for", "",
		"write API server settings for: kubeadm, capi, kops, k3s, rke2, talos or eks-anywhere")
	f.StringVar(&c.present, "present-issuer", "",
		"the cluster's present issuer, which stays accepted (default: asked with --kubeconfig, or the "+
			"distribution's own)")
	f.StringVar(&c.namespace, "namespace", "", "namespace of the cluster's objects in a management cluster")
	f.StringArrayVar(&c.publicKeys, "public-key", nil, "PEM file of the cluster's keys; may be repeated")
	flags.KeyKind(cmd, &c.kind, token.DefaultKind, "a new key: "+token.KindChoice())
	f.DurationVar(&c.maxAge, "max-age", 5*time.Minute, "how long readers may keep the documents; at most an hour")
	f.StringVar(&c.jwksPath, "jwks-path", "",
		"where the keys are below the URL, keys.json in EKS Anywhere's guide (default: openid/v1/jwks)")
	f.BoolVar(&c.emptyIDs, "empty-kid", false,
		"repeat each key under an empty kid, for tokens of API servers before 1.16")
	f.DurationVar(&c.readBack, "read-back", 30*time.Second,
		"how long to wait until readers find what was published; 0 does not look")
	cli.CompleteFlag(cmd, "style", "virtual", "path", "dualstack")
	cli.CompleteFlag(cmd, "for", "kubeadm", "capi", "kops", "k3s", "rke2", "talos", "eks-anywhere")
	cli.CompleteFiles(cmd, "public-key", "pem", "pub", "crt")
	_ = cmd.MarkFlagDirname("directory")
	return cmd
}

func (c *initConfig) validate() error {
	switch {
	case c.name == "":
		return fault.New(fault.Usage, "no name given").Hint("add --name CLUSTER")
	case (c.bucket == "") == (c.directory == ""):
		return fault.New(fault.Usage, "want one place to publish in").
			Hint("--bucket NAME --region REGION, or --directory PATH with --url URL")
	case c.bucket != "" && c.region == "":
		return fault.New(fault.Usage, "the bucket's region is not given").Hint("add --region REGION")
	case c.directory != "" && c.url == "":
		return fault.New(fault.Usage, "the URL under which the folder is served is not given").
			Hint("add --url https://HOST/PATH")
	case c.owner != "" && !arn.IsAccount(c.owner):
		return fault.New(fault.Usage, "--bucket-owner %q: want the 12 digits of an account", c.owner)
	case c.bucket == "" && (c.owner != "" || c.addStatement):
		return fault.New(fault.Usage, "--bucket-owner and --add-statement are about a bucket").Hint("add --bucket NAME")
	case c.maxAge < 0 || c.maxAge > time.Hour:
		return fault.New(fault.Usage, "--max-age %s: want at most an hour", c.maxAge)
	case len(validation.IsDNS1123Subdomain(c.name)) > 0:
		return fault.New(fault.Usage, "--name %q: want a name that an Issuer object can have: a-z, 0-9, - and .",
			c.name)
	case !token.Kind(c.kind).IsValid():
		return fault.New(fault.Usage, "--kind %q: want %s", c.kind, token.KindChoice())
	case c.bucket != "" && !arn.IsBucket(c.bucket):
		return fault.New(fault.Usage, "--bucket %q: want 3 to 63 of a-z, 0-9, - and .", c.bucket)
	case c.region != "" && !arn.IsRegion(c.region):
		return fault.New(fault.Usage, "--region %w", arn.CheckRegion(c.region))
	case c.distribution != "" && !slices.Contains(apiserverflags.Names(), apiserverflags.Name(c.distribution)):
		return fault.New(fault.Usage, "--for %q is not known", c.distribution).
			Hint("want one of kubeadm, capi, kops, k3s, rke2, talos, eks-anywhere")
	}
	if err := c.validateProviders(); err != nil {
		return err
	}
	if c.url == "" {
		url, err := bucket.URL(bucket.Style(c.style), c.bucket, c.region, c.prefix)
		if err != nil {
			return fault.New(fault.Usage, "%w", err)
		}
		c.url = url
	}
	if err := token.CheckTokenIssuer(c.url); err != nil {
		return fault.New(fault.Usage, "%w", err)
	}
	if strings.HasSuffix(c.url, "/") {
		return fault.New(fault.Usage, "issuer %q ends with a slash, which would be part of it everywhere", c.url).
			Hint("use %s", strings.TrimRight(c.url, "/"))
	}
	if _, err := c.read.Reader(); err != nil {
		return err
	}
	if _, err := c.cluster.Config(); err != nil {
		return err
	}
	if c.distribution == "" || c.cluster.Kubeconfig != "" {
		return nil // the present issuer is asked
	}
	_, err := c.render("", "", false)
	return err
}

// validateProviders looks at what IAM would refuse when all else is done.
func (c *initConfig) validateProviders() error {
	for _, audience := range c.audiences {
		if !plan.IsAudience(audience) {
			return fault.New(fault.Usage, "--audience %q: want 1 to 255 characters", audience)
		}
	}
	for _, role := range c.roles {
		if _, err := arn.ParseRole(role); err != nil {
			return fault.New(fault.Usage, "--provider-role: %w", err)
		}
	}
	for _, one := range c.thumbprints {
		if !plan.IsThumbprint(one) {
			return fault.New(fault.Usage, "--thumbprint %q: want the SHA-1 of a certificate, 40 hexadecimal digits",
				one).Hint("rolecall issuer verify prints it")
		}
	}
	return nil
}

// run does one thing after the other, each of which may have been done before.
func (c *initConfig) run(ctx context.Context, sys cli.System) error {
	if c.dryRun {
		return c.plan(ctx, sys)
	}
	folder := c.dir.folder()
	if err := folder.Make(); err != nil {
		return err
	}
	unlock, err := folder.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	object, err := c.object()
	if err != nil {
		return err
	}
	if err := c.adopt(ctx, sys, object); err != nil {
		return err
	}
	if err := folder.Save(object); err != nil {
		return err
	}
	present, own, err := c.keys(ctx, sys)
	if err != nil {
		return err
	}
	settings, err := c.render(object.Spec.Publish.JWKSPath, present, own)
	if err != nil {
		return err // before anything is made elsewhere
	}
	if target := object.Spec.Publish.S3; target != nil {
		if err := accounts.EnsureBucket(ctx, target, c.bucketOptions(sys, object)); err != nil {
			return err
		}
	}
	publish := publishConfig{dir: c.dir, cluster: c.cluster, read: c.read, readBack: c.readBack}
	d, err := openDesk(ctx, sys, c.dir, c.cluster, c.read)
	if err != nil {
		return err
	}
	if err := publish.publish(ctx, sys, d); err != nil {
		return err
	}
	if err := makeProviders(ctx, sys, &object.Spec); err != nil {
		return err
	}
	return c.writeSettings(sys, settings)
}

func (c *initConfig) bucketOptions(sys cli.System, object *v1alpha1.Issuer) accounts.BucketOptions {
	_, direct := bucket.Of(object.Spec.URL)
	return accounts.BucketOptions{
		JWKSPath: plan.JWKSPath(&object.Spec), Behind: !direct, AddStatement: c.addStatement, DryRun: c.dryRun,
		Tell: tellPlan(sys), Now: sys.Now(),
	}
}

// tellPlan says what is going to be done, before it is.
func tellPlan(sys cli.System) func(string) {
	return func(step string) { fmt.Fprintf(sys.Stderr, "plan: %s\n", step) }
}

// plan says what init would do, and does nothing.
func (c *initConfig) plan(ctx context.Context, sys cli.System) error {
	object, err := c.object()
	if err != nil {
		return err
	}
	if err := c.adopt(ctx, sys, object); err != nil {
		return err
	}
	tell := tellPlan(sys)
	tell("write " + c.dir.folder().IssuerFile() + " and the keys beside it")
	if target := object.Spec.Publish.S3; target != nil {
		if err := accounts.EnsureBucket(ctx, target, c.bucketOptions(sys, object)); err != nil {
			return err
		}
	}
	tell("publish the keys at " + plan.JWKSURI(&object.Spec) + " and the document that leads to them")
	for _, one := range object.Spec.Providers {
		tell(fmt.Sprintf("make the IAM provider of %s for %s %s", object.Spec.URL, strings.Join(one.ClientIDs, ", "),
			cmp.Or(one.RoleARN, "in the account of the credentials")))
	}
	return nil
}

// object is issuer.yaml's; another issuer's is not overwritten.
func (c *initConfig) object() (*v1alpha1.Issuer, error) {
	object := &v1alpha1.Issuer{}
	object.APIVersion, object.Kind, object.Name = v1alpha1.GroupVersion.String(), "Issuer", c.name
	object.Spec.URL, object.Spec.APIServers = c.url, c.cluster.URLs
	object.Spec.Probe.ServiceAccount = v1alpha1.ObjectName{Namespace: "default", Name: "default"}
	object.Spec.Publish.MaxAgeSeconds = int32(c.maxAge.Seconds())
	if c.bucket != "" {
		object.Spec.Publish.S3 = &v1alpha1.S3Target{
			Bucket: c.bucket,
			Region: c.region,
			Prefix: strings.Trim(c.prefix, "/"),
			Owner:  c.owner,
		}
	} else {
		object.Spec.Publish.Directory = &v1alpha1.Directory{Path: c.directory}
	}
	if !c.withoutProvider {
		for _, role := range append([]string{""}, c.roles...) {
			object.Spec.Providers = append(object.Spec.Providers, v1alpha1.IAMProvider{
				ClientIDs:   c.audiences,
				RoleARN:     role,
				Thumbprints: c.thumbprints,
			})
		}
	}
	there, err := c.dir.folder().Load()
	if err == nil && there.Spec.URL != c.url {
		return nil, fault.New(fault.Conflict, "%s is of issuer %s", c.dir.folder().IssuerFile(), there.Spec.URL).
			Hint("give another folder with --dir: another URL is another issuer")
	}
	if err == nil { // what init does not ask for was added by hand
		object.Spec.Probe, object.Spec.Rotation = there.Spec.Probe, there.Spec.Rotation
		object.Spec.Publish.JWKSPath, object.Spec.Publish.EmptyKIDs = there.Spec.Publish.JWKSPath,
			there.Spec.Publish.EmptyKIDs
		if place := there.Spec.Publish.S3; place != nil && object.Spec.Publish.S3 != nil && !c.given("bucket-owner") {
			object.Spec.Publish.S3.Owner = place.Owner
		}
		if !c.given("max-age") {
			object.Spec.Publish.MaxAgeSeconds = there.Spec.Publish.MaxAgeSeconds
		}
		if !c.given("api-server") {
			object.Spec.APIServers = there.Spec.APIServers
		}
		if !slices.ContainsFunc([]string{"audience", "provider-role", "thumbprint", "without-provider"}, c.given) {
			object.Spec.Providers = there.Spec.Providers
		}
	}
	if c.jwksPath != "" {
		object.Spec.Publish.JWKSPath = c.jwksPath
	}
	object.Spec.Publish.EmptyKIDs = object.Spec.Publish.EmptyKIDs || c.emptyIDs
	return object, nil
}

// keys finds or makes the keys to publish. It returns the issuer that the API
// servers have now, and whether the keys are ours.
func (c *initConfig) keys(ctx context.Context, sys cli.System) (present string, own bool, err error) {
	var sets [][]token.PublicKey
	for _, file := range c.publicKeys {
		keys, err := readPublicKeys(file)
		if err != nil {
			return "", false, err
		}
		sets = append(sets, keys)
	}
	servers, err := c.cluster.Servers(ctx, nil)
	if err != nil {
		return "", false, err
	}
	if len(servers) > 0 {
		asked := observe.AskAll(ctx, servers, plan.ProbeOf(&v1alpha1.IssuerSpec{}), sys.Now)
		keys, err := observe.Union(asked)
		if err != nil {
			return "", false, fault.New(fault.Unavailable, "%w", err)
		}
		sets, present = append(sets, keys), asked[0].Issuer
	}
	if len(sets) > 0 {
		keys, err := document.Union(sets...)
		if err != nil {
			return "", false, fault.New(fault.Invalid, "%w", err)
		}
		return present, false, c.dir.folder().Accept(keys)
	}
	made, err := c.dir.folder().EnsureKeys(func() (*token.Key, error) { return flags.NewKey(c.kind) })
	if made != "" {
		fmt.Fprintf(sys.Stderr, "written: %s, a new private key\n", made)
	}
	return "", true, err
}

// makeProviders makes or completes the provider in every account.
func makeProviders(ctx context.Context, sys cli.System, spec *v1alpha1.IssuerSpec) error {
	for _, one := range spec.Providers {
		provider, err := accounts.EnsureProvider(ctx, spec.URL, one)
		if unreached, ok := errors.AsType[*fault.Error](err); ok && unreached.Kind == fault.Unavailable {
			return unreached.Hint("give AWS credentials, or --without-provider")
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(sys.Stdout, "provider: %s\n", provider)
	}
	return nil
}

// render makes what the API servers need; nil if nothing was asked for, or if they
// have it. The issuer that they have now is present, unless it was named.
func (c *initConfig) render(jwksPath, present string, own bool) (*apiserverflags.Settings, error) {
	present = cmp.Or(c.present, present)
	if c.distribution == "" || present == c.url {
		return nil, nil
	}
	settings, err := apiserverflags.For(apiserverflags.Name(c.distribution), apiserverflags.Issuer{
		URL: c.url, Present: present, JWKSURI: c.url + "/" +
			cmp.Or(jwksPath, document.JWKSPath), Cluster: c.name, Namespace: c.namespace,
		Bucket: c.bucket, Prefix: strings.Trim(c.prefix, "/"), OwnKeys: own,
	})
	if err != nil {
		return nil, fault.New(fault.Usage, "%w", err).
			Hint("name the present issuer with --present-issuer, or ask the cluster with --kubeconfig")
	}
	return &settings, nil
}

func (c *initConfig) writeSettings(sys cli.System, settings *apiserverflags.Settings) error {
	if settings == nil {
		fmt.Fprintf(sys.Stdout, "issuer: %s\n", c.url)
		return nil
	}
	if err := c.dir.folder().Write(settings.File, []byte(settings.Text)); err != nil {
		return err
	}
	fmt.Fprintf(sys.Stdout, "issuer: %s\nsettings: %s\n\n%s\n", c.url, c.dir.folder().Path(settings.File),
		settings.Text)
	for i, step := range settings.Steps {
		fmt.Fprintf(sys.Stdout, "%d. %s\n", i+1, sys.AsCalled(step))
	}
	return nil
}
