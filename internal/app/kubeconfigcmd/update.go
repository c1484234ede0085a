package kubeconfigcmd

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/kubeconfig"
)

const isWindows = runtime.GOOS == "windows"

// updateConfig is what `kubeconfig update` needs.
type updateConfig struct {
	files
	name, region, profile     string
	noProfile                 bool
	role, describeRole        string
	sessionName, externalID   string
	mfaSerial                 string
	proxy                     string
	alias, userAlias          string
	namespace                 string
	keepCurrent, compatNames  bool
	execCommand, execVersion  string
	server, authority, signed string
	dry                       string
	verbose, verify           bool
}

func newUpdate(sys cli.System) *cobra.Command {
	var c updateConfig
	cmd := &cobra.Command{
		Use:     "update --name CLUSTER",
		Aliases: []string{"add"},
		Short:   "Put a cluster into a kubeconfig file, as aws eks update-kubeconfig does",
		Long: `Put a cluster, a user and a context into a kubeconfig file, and make the context the
current one. Address and authority of an EKS cluster come from EKS; those of any other
are given with --server and --certificate-authority.

The user's tokens come from this program, which is named with its whole path; the
profile in use goes along as an argument, so that keys in a shell's environment do not
make somebody else of a person. With --exec-command aws the entry is the AWS CLI's.

Of the files in KUBECONFIG it takes the one that has the cluster, else the first.`,
		Example: `  # an EKS cluster, as the person who is logged in with SSO
  aws sso login --profile dev
  rolecall kubeconfig update --name prod --region eu-west-1 --profile dev --alias prod --verify

  # the same with a role, which the context's name tells
  rolecall kubeconfig update --name prod --region eu-west-1 \
    --role-arn arn:aws:iam::111122223333:role/dev.eks-access.role

  # any cluster
  rolecall kubeconfig update --name home --server https://10.0.0.1:6443 --certificate-authority ca.crt`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys) },
	}
	c.flags(cmd)
	return cmd
}

func (c *updateConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.name, "name", "", "name of the cluster")
	f.StringVar(&c.role, "role-arn", "", "role to assume for the cluster")
	f.StringVar(&c.alias, "alias", "", "name of the context; the user's if empty")
	f.StringVar(&c.namespace, "context-namespace", "", "namespace of the context; one that is there stays if empty")
	f.BoolVar(&c.keepCurrent, "keep-current-context", false, "do not make the context the current one")
	f.BoolVar(&c.verify, "verify", false, "then ask the cluster who one is")
	f.BoolVar(&c.verbose, "verbose", false, "print what was put in")
	dryRun(cmd, &c.dry)
	c.fileFlags(cmd)
	cli.Group(cmd, "Where the cluster is", func(f *pflag.FlagSet) {
		f.StringVar(&c.region, "region", "", "region of the cluster; the environment's if empty")
		f.StringVar(&c.describeRole, "assume-role-arn", "", "role to assume for asking EKS about the cluster")
		f.StringVar(&c.server, "server", "", "URL of the API server, for clusters that are not EKS's")
		f.StringVar(&c.authority, "certificate-authority", "",
			"file with the API server's authority, for --server; the system's are trusted if empty")
		f.StringVar(&c.signed, "cluster-id", "", "name that tokens are signed for, if it is not --name")
		f.StringVar(&c.proxy, "proxy-url", "", "proxy on the way to the API server")
	})
	cli.Group(cmd, "Who enters", func(f *pflag.FlagSet) {
		f.StringVar(&c.profile, "profile", "", "AWS profile; AWS_PROFILE's if empty")
		f.BoolVar(&c.noProfile, "no-profile", false, "write no profile")
		f.StringVar(&c.sessionName, "session-name", "", "name of the role's session; the person's own if empty")
		f.StringVar(&c.externalID, "external-id", "", "external id that the role's trust asks for")
		f.StringVar(&c.mfaSerial, "mfa-serial", "", "MFA device whose code the role's trust asks for")
	})
	cli.Group(cmd, "What is written", func(f *pflag.FlagSet) {
		f.StringVar(&c.userAlias, "user-alias", "", "name of the user; the cluster's, with the role's if there is one")
		f.BoolVar(&c.compatNames, "compat-names", false, "all names, and with --exec-command aws all of the entry, as the AWS CLI's")
		f.StringVar(&c.execCommand, "exec-command", "", "program that makes tokens: aws, or a path of rolecall; this one's if empty")
		f.StringVar(&c.execVersion, "exec-api-version", "v1beta1", "version of the exec credential protocol: v1beta1 or v1")
	})
	cli.CompleteFiles(cmd, "certificate-authority")
	cli.CompleteFlag(cmd, "exec-api-version", "v1beta1", "v1")
}

func (c *updateConfig) validate() error {
	if c.name == "" {
		return cli.Usage("which cluster?").Hint("add --name CLUSTER")
	}
	if c.role != "" && !arn.IsRole(c.role) {
		return cli.Usage("--role-arn %q is not the ARN of a role", c.role).
			Hint("arn:aws:iam::ACCOUNT:role/NAME")
	}
	if c.describeRole != "" && !arn.IsRole(c.describeRole) {
		return cli.Usage("--assume-role-arn %q is not the ARN of a role", c.describeRole).
			Hint("arn:aws:iam::ACCOUNT:role/NAME")
	}
	if c.server != "" && c.describeRole != "" {
		return cli.Usage("--assume-role-arn is for asking EKS: with --server nobody is asked")
	}
	if c.server == "" && c.authority != "" {
		return cli.Usage("--certificate-authority goes with --server: that of an EKS cluster comes from EKS")
	}
	if parsed, err := url.Parse(c.server); c.server != "" && (err != nil || parsed.Scheme != "https" || parsed.Host == "") {
		return cli.Usage("--server %q is not the URL of an API server", c.server).Hint("https://HOST:PORT")
	}
	if parsed, err := url.Parse(c.proxy); c.proxy != "" && (err != nil || parsed.Scheme == "" || parsed.Host == "") {
		return cli.Usage("--proxy-url %q is not a URL", c.proxy).Hint("http://HOST:PORT, https:// or socks5://")
	}
	if c.noProfile && c.profile != "" {
		return cli.Usage("--profile and --no-profile contradict each other")
	}
	if c.execVersion != "v1" && c.execVersion != "v1beta1" {
		return cli.Usage("--exec-api-version %q: want v1beta1 or v1", c.execVersion)
	}
	if c.role == "" && (c.sessionName != "" || c.externalID != "" || c.mfaSerial != "") {
		return cli.Usage("--session-name, --external-id and --mfa-serial are about a role").Hint("add --role-arn")
	}
	if c.execCommand == "aws" && (c.sessionName != "" || c.externalID != "" || c.mfaSerial != "") {
		return cli.Usage("aws eks get-token takes no session name, external id or MFA device").
			Hint("leave --exec-command out, or put them into a profile")
	}
	if c.dry != "" && c.verify {
		return cli.Usage("--verify needs what --dry-run does not write")
	}
	return checkDryRun(c.dry)
}

func (c *updateConfig) run(ctx context.Context, sys cli.System) error {
	if err := c.validate(); err != nil {
		return err
	}
	facts, err := c.cluster(ctx)
	if err != nil {
		return err
	}
	entry, err := c.entry(ctx, sys, facts)
	if err != nil {
		return err
	}
	file, err := c.choose(sys, func(t *kubeconfig.Text) bool { return t.Has(entry.Cluster.Name) })
	if err != nil {
		return err
	}
	if c.dry != "" {
		if _, err := file.Put(entry, c.keepCurrent); err != nil {
			return err
		}
		show(sys, file, c.dry)
		return nil
	}
	had := file.Has(entry.Cluster.Name)
	err = change(ctx, file.Path, func(again *kubeconfig.File) error {
		had = again.Has(entry.Cluster.Name)
		laidOut, err := again.Put(entry, c.keepCurrent)
		if err == nil && !laidOut {
			laidOutAgain(sys, again.Path)
		}
		aboutMode(sys, again)
		return err
	})
	if err != nil {
		return err
	}
	if had {
		fmt.Fprintf(sys.Stdout, "Updated context %s in %s\n", entry.Context, file.Path)
	} else {
		fmt.Fprintf(sys.Stdout, "Added new context %s to %s\n", entry.Context, file.Path)
	}
	if c.verbose {
		if err := printEntry(sys, entry); err != nil {
			return err
		}
	}
	if strings.ContainsAny(entry.Context, ":/") && c.alias == "" && !c.compatNames {
		fmt.Fprintf(sys.Stderr, "hint: some tools cannot take a context's name with : or / in it: --alias %s gives it a short one\n", c.name)
	}
	if c.verify {
		return verify(ctx, sys, file.Path, entry.Context)
	}
	return nil
}

// cluster is what EKS says of the cluster, or the flags.
func (c *updateConfig) cluster(ctx context.Context) (awsapi.Cluster, error) {
	if c.server != "" {
		facts := awsapi.Cluster{Name: c.name, Endpoint: c.server}
		if c.authority == "" {
			return facts, nil
		}
		text, err := os.ReadFile(c.authority)
		if err != nil {
			return facts, fault.New(fault.Usage, "--certificate-authority: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return facts, fault.New(fault.Usage, "--certificate-authority: %s holds no certificate in PEM", c.authority)
		}
		facts.CA = base64.StdEncoding.EncodeToString(text)
		return facts, nil
	}
	facts, err := awsapi.DescribeCluster(ctx, awsapi.ClusterQuery{
		Name: c.name, Region: c.region, Profile: c.profile, RoleARN: c.describeRole,
	})
	if err != nil {
		return facts, c.explain(err)
	}
	if facts.Status != "ACTIVE" && facts.Status != "UPDATING" {
		return facts, fault.New(fault.Unavailable, "cluster %s is %s: it has an address only while it is ACTIVE or UPDATING",
			c.name, facts.Status).Hint("aws eks wait cluster-active --name %s", fault.Quote(c.name))
	}
	if _, _, err := parts(facts.ARN); err != nil {
		return facts, err
	}
	return facts, nil
}

// explain says what to do where EKS said no.
func (c *updateConfig) explain(err error) error {
	answer, isAWS := errors.AsType[*awsapi.Error](err)
	if !isAWS {
		if fault.KindOf(err) != fault.Internal {
			return err
		}
		return fault.New(fault.Unavailable, "ask EKS about cluster %s: %w", c.name, err).
			Hint("aws sts get-caller-identity shows whether there are credentials")
	}
	switch {
	case answer.Code == "ResourceNotFoundException":
		return fault.New(fault.NotFound, "%w", err).
			Hint("aws eks list-clusters shows those of the region; add --region REGION if it is another").
			Hint("a cluster that is not EKS's is given with --server and --certificate-authority")
	case strings.HasPrefix(answer.Code, "AccessDenied") && c.role != "" && c.describeRole == "":
		return fault.New(fault.Denied, "%w", err).
			Hint("--role-arn is used for kubectl only; to ask EKS with it too, add --assume-role-arn %s", c.role)
	case strings.HasPrefix(answer.Code, "AccessDenied"):
		return fault.New(fault.Denied, "%w", err).
			Hint("eks:DescribeCluster on the cluster is needed, or --server and --certificate-authority")
	}
	return fault.New(fault.Unavailable, "%w", err)
}

// parts takes a cluster's ARN apart.
func parts(text string) (region, account string, err error) {
	named, err := arn.ParseCluster(text)
	if err != nil {
		return "", "", fault.New(fault.Unavailable, "EKS gave the cluster the ARN %q: %w", text, err)
	}
	return named.Region, named.Account, nil
}

// entry is what is to be in the file.
func (c *updateConfig) entry(ctx context.Context, sys cli.System, facts awsapi.Cluster) (kubeconfig.Entry, error) {
	name, region, account := c.name, c.region, ""
	if facts.ARN != "" {
		name = facts.ARN
		region, account, _ = parts(facts.ARN) // it was taken apart before
	}
	exec, err := c.exec(ctx, sys, facts, region)
	if err != nil {
		return kubeconfig.Entry{}, err
	}
	user := name
	if c.role != "" && !c.compatNames {
		user += "@" + roleName(c.role, account)
	}
	user = cmp.Or(c.userAlias, user)
	return kubeconfig.Entry{
		Cluster:   kubeconfig.Cluster{Name: name, Server: facts.Endpoint, CA: facts.CA, ProxyURL: c.proxy},
		User:      kubeconfig.User{Name: user, Exec: exec},
		Context:   cmp.Or(c.alias, user),
		Namespace: c.namespace,
	}, nil
}

// roleName tells roles apart: one of another account than the cluster's with its own.
func roleName(text, account string) string {
	role, err := arn.ParseRole(text)
	if err != nil { // validate has seen that it is one
		return text
	}
	if account != "" && role.Account != account {
		return role.Account + "/" + role.Name
	}
	return role.Name
}

// exec is the program that makes the tokens.
func (c *updateConfig) exec(
	ctx context.Context, sys cli.System, facts awsapi.Cluster, region string,
) (kubeconfig.Exec, error) {
	profile, asks, err := c.profileInUse(ctx, sys)
	if err != nil {
		return kubeconfig.Exec{}, err
	}
	exec := kubeconfig.Exec{
		APIVersion: "client.authentication.k8s.io/" + c.execVersion, Env: c.sharedFiles(sys), InteractiveMode: "Never",
	}
	if asks || c.mfaSerial != "" {
		exec.InteractiveMode = "IfAvailable"
	}
	flag, signed := "--cluster-name", c.name
	if facts.ID != "" {
		flag, signed = "--cluster-id", facts.ID
	}
	signed = cmp.Or(c.signed, signed)
	if filepath.Base(c.execCommand) == "aws" {
		exec.Command = c.execCommand
		exec.Args = []string{"--region", region, "eks", "get-token", flag, signed, "--output", "json"}
		if region == "" {
			exec.Args = exec.Args[2:]
		}
		if c.role != "" {
			exec.Args = append(exec.Args, "--role", c.role)
		}
		if profile != "" {
			exec.Env = append([]kubeconfig.Variable{{Name: "AWS_PROFILE", Value: profile}}, exec.Env...)
		}
		if c.compatNames && c.execVersion == "v1beta1" {
			exec.InteractiveMode = ""
		}
		return exec, nil
	}
	if exec.Command = c.execCommand; exec.Command == "" {
		if exec.Command, err = sys.Executable(); err != nil {
			return exec, fault.New(fault.Internal, "find this program: %w", err).Hint("add --exec-command PATH")
		}
	}
	exec.Args = []string{"token", flag, signed}
	for _, one := range []struct{ flag, value string }{
		{"--region", region},
		{"--profile", profile},
		{"--role-arn", c.role},
		{"--session-name", c.sessionName},
		{"--external-id", c.externalID},
		{"--mfa-serial", c.mfaSerial},
	} {
		if one.value != "" {
			exec.Args = append(exec.Args, one.flag, one.value)
		}
	}
	return exec, nil
}

// profileInUse is the profile to write, and whether it asks for a code. A profile that
// itself becomes the role of --role-arn is enough: the role is then not assumed twice.
func (c *updateConfig) profileInUse(ctx context.Context, sys cli.System) (name string, asks bool, err error) {
	name = cmp.Or(c.profile, sys.Getenv("AWS_PROFILE"), sys.Getenv("AWS_DEFAULT_PROFILE"))
	if name == "" || c.noProfile {
		return "", false, nil
	}
	found, err := awsapi.ReadProfile(ctx, name)
	if err != nil {
		return "", false, fault.New(fault.Usage, "profile %q: %w", name, err).
			Hint("aws configure list-profiles shows those that there are")
	}
	if c.role != "" && found.RoleARN == c.role {
		fmt.Fprintf(sys.Stderr, "profile %s assumes %s itself: the entry names the profile only\n", name, c.role)
		c.role, c.sessionName, c.externalID, c.mfaSerial = "", "", "", ""
	}
	return name, found.MFASerial != "", nil
}

// sharedFiles are the variables that say where the profile is kept: the person's shell
// has them, other programs that start the plugin may not.
func (c *updateConfig) sharedFiles(sys cli.System) []kubeconfig.Variable {
	var found []kubeconfig.Variable
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		value := sys.Getenv(name)
		if value == "" {
			continue
		}
		if absolute, err := filepath.Abs(value); err == nil {
			value = absolute
		}
		fmt.Fprintf(sys.Stderr, "%s is set: the entry keeps it (%s)\n", name, value)
		found = append(found, kubeconfig.Variable{Name: name, Value: value})
	}
	return found
}

func printEntry(sys cli.System, e kubeconfig.Entry) error {
	text, err := yaml.Marshal(map[string]any{
		"context": map[string]string{"name": e.Context, "cluster": e.Cluster.Name, "user": e.User.Name},
		"user":    map[string]any{"name": e.User.Name, "exec": e.User.Exec},
		"cluster": map[string]string{"name": e.Cluster.Name, "server": e.Cluster.Server},
	})
	if err == nil {
		_, err = fmt.Fprintf(sys.Stdout, "Entries:\n\n%s\n", text)
	}
	return err
}
