// Package tokencmd has the commands of `rolecall token`: tokens with which people,
// pipelines and nodes enter clusters by their IAM identity, made for kubectl, verified
// and put in words.
//
// It has no rules of its own: how tokens are signed, and as whom, is in
// internal/awsapi, how they are read in internal/callerid, how they are kept in
// internal/tokencache.
package tokencmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// command is what `token` needs.
type command struct {
	who
	tokenOnly, isCached bool
	whoami, verbose     bool
	output              string
}

// who says for which cluster, and as whom.
type who struct {
	clusterID, clusterName string
	region, profile        string
	roles                  []string
	sessionName            string
	forwardName            bool
	externalID, mfaSerial  string
}

// New returns the command with all below it.
func New(sys cli.System) *cobra.Command {
	var c command
	cmd := &cobra.Command{
		Use:   "token --cluster-name CLUSTER",
		Short: "Make a token of an IAM identity for a cluster: kubectl's credential plugin",
		Long: `Sign a request to sts:GetCallerIdentity with the credentials that the AWS SDK finds, and
print it as the ExecCredential that kubectl wants of a plugin. Its verifier learns the
identity and nothing else; it is good for 15 minutes and one cluster.

With --role-arn a role is assumed first; given more than once, each role assumes the
next. The session bears the caller's own name, so that audit logs keep it.

Tokens are kept until a minute before their end, sessions of roles until five minutes
before theirs, in files that only this user may read: kubectl then costs no call to AWS,
and one MFA code lasts for a session. What stands in a kubeconfig for aws eks get-token or
aws-iam-authenticator token works here.`,
		Example: `  # as the person who is logged in with SSO
  aws sso login --profile dev
  rolecall token --cluster-name prod --region eu-west-1 --profile dev --whoami

  # the same with a role
  rolecall token --cluster-name prod --region eu-west-1 --profile dev \
    --role-arn arn:aws:iam::111122223333:role/dev.eks-access.role --whoami

  # to paste into a form
  rolecall token --cluster-name prod --token-only`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys) },
	}
	c.flags(cmd)
	cmd.AddCommand(newVerify(sys), newInspect(sys))
	return cmd
}

// clusterFlags adds the names that the tools have for the cluster.
func (w *who) clusterFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.clusterName, "cluster-name", "", "name of the cluster that the token is for")
	f.StringVarP(&w.clusterID, "cluster-id", "i", "",
		"the same, as aws-iam-authenticator calls it; KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID if both are empty")
	f.SetNormalizeFunc(abbreviations)
}

// abbreviations are flags of the AWS CLI that may be cut short: kubeconfigs that it made
// say --role.
func abbreviations(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	for whole, least := range map[string]string{
		"role-arn": "role", "cluster-name": "cluster-n",
		"cluster-id": "cluster-i",
	} {
		if strings.HasPrefix(name, least) && strings.HasPrefix(whole, name) {
			return pflag.NormalizedName(whole)
		}
	}
	return pflag.NormalizedName(name)
}

func (c *command) flags(cmd *cobra.Command) {
	c.clusterFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&c.tokenOnly, "token-only", false, "print a new token and nothing around it")
	f.BoolVar(&c.whoami, "whoami", false, "print who the token would be of, as STS says, in its place")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "say on standard error who the token is of")
	f.BoolVar(&c.isCached, "cache", true, "keep tokens and sessions of roles for the next call")
	f.StringVarP(&c.output, "output", "o", "", "json, which a token is anyway; with --whoami: text or json")
	cli.CompleteFlag(cmd, "output", "json", "text")
	cli.Group(cmd, "Who enters", func(f *pflag.FlagSet) {
		f.StringVar(&c.region, "region", "", "region whose STS is named in the token; the environment's if empty")
		f.StringVar(&c.profile, "profile", "", "AWS profile, even if the environment has keys; AWS_PROFILE's if empty")
		f.StringArrayVarP(&c.roles, "role-arn", "r", nil,
			"role to assume; given more than once, each assumes the next; DEFAULT_ROLE's if there is none")
		f.StringVarP(&c.sessionName, "session-name", "s", "", "name of the roles' sessions; the caller's own if empty")
		f.BoolVar(
			&c.forwardName,
			"forward-session-name",
			false,
			"take the caller's own name for them, as is done anyway",
		)
		f.StringVarP(&c.externalID, "external-id", "e", "", "external id that the roles' trust asks for")
		f.StringVar(&c.mfaSerial, "mfa-serial", "", "MFA device whose code the first role's trust asks for")
	})
	cli.CompleteFlag(cmd, "region")
}

// signedFor is the cluster that a token is for.
func (w *who) signedFor(sys cli.System) (string, error) {
	if w.clusterID != "" && w.clusterName != "" {
		return "", cli.Usage("--cluster-name and --cluster-id are two names for one thing").Hint("give one of them")
	}
	cluster := strings.TrimSpace(
		cmp.Or(w.clusterID, w.clusterName, sys.Getenv("KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID")),
	)
	if cluster == "" {
		return "", cli.Usage("which cluster?").Hint("add --cluster-name CLUSTER")
	}
	if strings.ContainsFunc(cluster, unicode.IsControl) {
		return "", cli.Usage("the cluster's name has characters that no header may have")
	}
	return cluster, nil
}

func (c *command) validate(sys cli.System) error {
	formats := map[string]bool{"": true, "json": true, "text": c.whoami}
	if !formats[c.output] {
		return cli.Usage("output format %q: kubectl wants json", c.output).
			Hint("leave --output out; --token-only prints the token alone")
	}
	if c.tokenOnly && (c.whoami || c.output != "") {
		return cli.Usage("--token-only excludes --whoami and --output")
	}
	if c.forwardName && c.sessionName != "" {
		return cli.Usage("--session-name and --forward-session-name contradict each other")
	}
	if c.region != "" && !arn.IsRegionLabel(c.region) {
		return cli.Usage("--region %q is not the name of a region", c.region)
	}
	c.rolesInUse(sys)
	for _, role := range c.roles {
		if !arn.IsRole(role) {
			return cli.Usage("--role-arn %q is not the ARN of a role", role).Hint("arn:aws:iam::ACCOUNT:role/NAME")
		}
	}
	if c.sessionName != "" && !arn.IsSessionName(c.sessionName) {
		return cli.Usage("--session-name %q: want %d to %d letters, digits and _+=,.@-",
			c.sessionName, arn.MinSessionName, arn.MaxSessionName)
	}
	if c.externalID != "" && !arn.IsExternalID(c.externalID) {
		return cli.Usage(
			"--external-id: want %d to %d letters, digits and _+=,.@:/-",
			arn.MinExternalID,
			arn.MaxExternalID,
		)
	}
	if c.mfaSerial != "" && !isDevice(c.mfaSerial) {
		return cli.Usage("--mfa-serial %q is not the serial number or ARN of a device", c.mfaSerial).
			Hint("aws iam list-mfa-devices shows one's own")
	}
	if len(c.roles) == 0 && c.mfaSerial != "" {
		return cli.Usage("--mfa-serial is about a role").Hint("add --role-arn")
	}
	return nil
}

// isDevice is STS's own rule for SerialNumber.
func isDevice(text string) bool {
	return len(text) >= 9 && len(text) <= 256 && !strings.ContainsFunc(text, func(r rune) bool {
		return !unicode.In(r, unicode.Letter, unicode.Digit) && !strings.ContainsRune("_+=/:,.@-", r) ||
			r > unicode.MaxASCII
	})
}

// rolesInUse adds the environment's role, as aws-iam-authenticator does, if no flag names
// one. An empty --role-arn is none, as for both tools.
func (c *command) rolesInUse(sys cli.System) {
	var named []string
	for _, role := range c.roles {
		if role != "" {
			named = append(named, role)
		}
	}
	if role := sys.Getenv("DEFAULT_ROLE"); len(c.roles) == 0 && role != "" {
		if arn.IsRole(role) {
			named = []string{role}
		} else {
			fmt.Fprintln(sys.Stderr, "warning: DEFAULT_ROLE is not the ARN of a role, and is not used")
		}
	}
	c.roles = named
}

func (c *command) run(ctx context.Context, sys cli.System) error {
	cluster, err := c.signedFor(sys)
	if err != nil {
		return err
	}
	if err := c.validate(sys); err != nil {
		return err
	}
	asked := readExecInfo(sys.Getenv("KUBERNETES_EXEC_INFO"))
	for _, warning := range asked.warnings {
		fmt.Fprintf(sys.Stderr, "warning: %s\n", warning)
	}
	err = c.answer(ctx, sys, cluster, asked)
	if interrupted := cli.InterruptOf(ctx); interrupted != nil && !errors.Is(err, errLeft) && err != nil {
		return interrupted
	}
	return oneLine(err)
}

// oneLine puts what to do next behind what is wrong: programs that start plugins show
// their first or last line.
func oneLine(err error) error {
	if err == nil || fault.KindOf(err) == fault.Usage {
		return err
	}
	hints := fault.HintsOf(err)
	if len(hints) == 0 {
		return err
	}
	return fault.New(fault.KindOf(err), "%s; try: %s", err.Error(), strings.Join(hints, "; "))
}

// callTimeout is how long AWS may take, and programs that make credentials; a person who
// is asked for a code has promptTimeout besides.
const callTimeout = 45 * time.Second

func (c *command) answer(ctx context.Context, sys cli.System, cluster string, asked execInfo) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout+promptTimeout)
	defer cancel()
	kept := newKept(sys, c, cluster)
	if !c.tokenOnly && !c.whoami && !c.verbose {
		if token, found := kept.token(); found {
			return asked.print(sys, token)
		}
	}
	defer kept.lock(ctx)()
	if !c.tokenOnly && !c.whoami && !c.verbose {
		if token, found := kept.token(); found { // made while this process waited
			return asked.print(sys, token)
		}
	}
	session, config, err := c.session(ctx, sys, kept, asked, cluster)
	if err != nil {
		return err
	}
	if c.whoami {
		return c.printWho(ctx, sys, session, config, cluster)
	}
	token, until, err := session.Token(ctx, cluster)
	if err != nil {
		return awsapi.ExplainLogin(config, err)
	}
	made := madeToken{token, until}
	if !session.IsLent() {
		kept.keepToken(made)
	}
	if c.verbose {
		if err := c.sayWho(ctx, sys, session, config); err != nil {
			return err
		}
	}
	if c.tokenOnly {
		fmt.Fprintf(sys.Stderr, "valid until %s\n", until.Format("15:04Z"))
		_, err := fmt.Fprintln(sys.Stdout, token.Reveal())
		return err
	}
	return asked.print(sys, made)
}

// madeToken is a token, and until when clients are told to use it.
type madeToken struct {
	credential.Secret
	until time.Time
}

// session finds who signs.
func (c *command) session(
	ctx context.Context, sys cli.System, kept *kept, asked execInfo, cluster string,
) (*awsapi.Session, awsapi.LoginConfig, error) {
	skew := &skew{sys: sys}
	asks := &prompt{sys: sys, mayAsk: asked.mayAsk(sys), again: c.again(cluster)}
	config := awsapi.LoginConfig{
		Region: c.region, Profile: c.profile, Roles: c.roles, SessionName: c.sessionName, ExternalID: c.externalID,
		MFASerial: c.mfaSerial, Code: asks.code, Skew: skew.see, Known: kept.session, Learn: kept.keepSession,
		Now: sys.Now,
	}
	if name, has := awsapi.HasKeysBesideProfile(); has && c.profile == "" {
		fmt.Fprintf(sys.Stderr, "warning: AWS_ACCESS_KEY_ID and AWS_PROFILE are both set: the keys are used; "+
			"--profile %s would take the profile\n", fault.Quote(name))
	}
	login, err := awsapi.NewLogin(ctx, config)
	if err != nil {
		return nil, config, awsapi.ExplainLogin(config, err)
	}
	session, err := login.Session(ctx)
	if err != nil {
		return nil, config, awsapi.ExplainLogin(config, err)
	}
	return session, config, nil
}

// again is a command line that a person can type to log in, where the plugin cannot ask.
func (c *command) again(cluster string) string {
	words := []string{cli.Name, "token", "--cluster-name", fault.Quote(cluster)}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, fault.Quote(value))
		}
	}
	add("--region", c.region)
	add("--profile", cmp.Or(c.profile, os.Getenv("AWS_PROFILE")))
	for _, role := range c.roles {
		add("--role-arn", role)
	}
	add("--session-name", c.sessionName)
	add("--external-id", c.externalID)
	add("--mfa-serial", c.mfaSerial)
	return strings.Join(append(words, "--whoami"), " ")
}

// clockTolerance is how far a clock may be off before that is said. STS forgives 15
// minutes, of which a token's own life is a part.
const clockTolerance = 4 * time.Minute

// skew warns once of a clock that is wrong.
type skew struct {
	sys  cli.System
	said bool
}

func (s *skew) see(ahead time.Duration) {
	if s.said || ahead.Abs() <= clockTolerance {
		return
	}
	s.said = true
	where := "ahead of"
	if ahead < 0 {
		where = "behind"
	}
	fmt.Fprintf(s.sys.Stderr, "warning: this machine's clock is %s %s AWS's: set it, or clusters refuse the token\n",
		ahead.Abs().Round(time.Second), where)
}
