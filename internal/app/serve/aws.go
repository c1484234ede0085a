package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/seed"
	"github.com/rolecall/rolecall/internal/localaws/sts"
)

// defaultAccount is what local AWS emulators play.
const defaultAccount = "000000000000"

// awsConfig is what `serve aws` needs.
type awsConfig struct {
	// listen is HOST:PORT; anything but loopback needs remote.
	listen string
	remote bool
	// accounts are the numbers of the accounts that are played, the default one
	// first.
	accounts []string
	// region is that of calls which name none, and of the export lines.
	region string
	// dataDir keeps the accounts; empty forgets them. salvage saves what can be read of it.
	dataDir string
	salvage bool
	// seeds are files of declared accounts that are loaded first; dump writes
	// the accounts of dataDir in the same form, and serves nothing.
	seeds []string
	dump  bool
	// issuers says where issuers' keys are fetched from, and whose certificates count.
	issuers flags.IssuerReader
	// privateIssuers lets issuers be on this machine's own networks.
	privateIssuers bool
	// explain prints each refusal with its reason.
	explain bool
	// faults lets callers ask for failures and move the clock.
	faults bool
	// stsErrors are the words of STS: current or legacy.
	stsErrors string
	// consistencyDelay is how long changes of IAM stay invisible.
	consistencyDelay time.Duration
	https            awsHTTPS
	logs             flags.Logs
}

func newAWS(sys cli.System) *cobra.Command {
	var c awsConfig
	cmd := &cobra.Command{
		Use:   "aws",
		Short: "Serve a local AWS that refuses as AWS does, and says why",
		Long: `Serve AWS on one port: IAM and STS for real, with signatures, web-identity tokens
and trust policies verified; every other call by the decision of the caller's
policies. Refusals are AWS's. The reason AWS hides is printed with --explain, and
served to this machine at /_rolecall/decisions. Not for production.`,
		Example: `  rolecall serve aws
  rolecall serve aws --seed accounts.yaml --data aws --explain
  rolecall serve aws --data aws --dump`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			if !cmd.Flags().Changed("account") {
				c.accounts = nil
			}
			if c.dump {
				return c.printDump(cmd.Context(), sys)
			}
			return c.run(cmd.Context(), sys)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.listen, "listen", flags.DefaultAWSAddress, "where to listen; port 0 picks a free one")
	f.BoolVar(&c.remote, "allow-remote", false, "allow to listen on addresses that others can reach")
	f.StringArrayVar(&c.accounts, "account", []string{defaultAccount},
		"number of an account; may be repeated, the first is the default")
	f.StringVar(&c.region, "region", "us-east-1", "region of calls that name none, and of the printed export lines")
	f.StringVar(&c.dataDir, "data", "", "folder that keeps the accounts; without it they are forgotten")
	flags.Salvage(cmd, &c.salvage)
	f.StringArrayVar(&c.seeds, "seed", nil,
		"file of declared users, roles, policies and providers to load first, YAML or JSON; may be repeated")
	f.BoolVar(&c.dump, "dump", false, "print the accounts of --data as such a file, secret keys included, and exit")
	f.BoolVar(&c.explain, "explain", false, "print each refusal with the reason AWS hides")
	f.BoolVar(&c.faults, "faults", false, "let callers ask for failures and move the clock, for tests of clients")
	flags.STSErrors(cmd, &c.stsErrors)
	f.DurationVar(&c.consistencyDelay, "consistency-delay", 0,
		"how long what is changed in IAM stays invisible to other calls, as on AWS; 0 shows it at once")
	f.BoolVar(&c.privateIssuers, "allow-private-issuers", false,
		"fetch keys also from loopback, link-local and private addresses")
	cli.CompleteFiles(cmd, "seed", "yaml", "yml", "json")
	_ = cmd.MarkFlagDirname("data")
	c.https.flags(cmd)
	c.issuers.Add(cmd)
	c.logs.Add(cmd)
	return cmd
}

func (c *awsConfig) validate() error {
	if _, err := flags.ParseSTSErrors(c.stsErrors); err != nil {
		return err
	}
	for _, id := range c.accounts {
		if err := arn.CheckAccount(id); err != nil {
			return fault.New(fault.Usage, "account %w", err)
		}
	}
	if c.salvage && c.dataDir == "" {
		return fault.New(fault.Usage, "--salvage is for a data folder: name it with --data")
	}
	if c.dump && c.dataDir == "" {
		return fault.New(fault.Usage, "--dump prints the accounts of a data folder: name it with --data")
	}
	if c.consistencyDelay < 0 {
		return fault.New(fault.Usage, "consistency delay %s: want 0 or more", c.consistencyDelay)
	}
	if err := c.https.validate(); err != nil {
		return err
	}
	_, _, err := c.issuers.Access()
	return err
}

func (c *awsConfig) run(ctx context.Context, sys cli.System) error {
	log, err := c.logs.Logger(sys)
	if err != nil {
		return err
	}
	if c.salvage {
		if err := flags.SalvageFiles(sys.Stderr, account.File(c.dataDir)); err != nil {
			return err
		}
	}
	r := newRunner(log)
	return r.run(ctx, func(ctx context.Context) error { return c.makeParts(ctx, sys, r) })
}

func (c *awsConfig) makeParts(ctx context.Context, sys cli.System, r *runner) error {
	endpoints, authorities, err := c.issuers.Access()
	if err != nil {
		return err
	}
	words, err := flags.ParseSTSErrors(c.stsErrors)
	if err != nil {
		return err
	}
	// Before anything is made, so that a refusal leaves nothing behind.
	listener, err := httpserve.Listen(ctx, c.listen, c.remote, "--allow-remote")
	if err != nil {
		return err
	}
	r.close(closeOnce{listener})
	access := sts.IssuerAccess{Endpoints: endpoints, RootCAs: authorities, AllowPrivate: c.privateIssuers}
	access, serveHTTPS, err := c.https.open(ctx, sys, r, c.remote, access)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, c.dataDir)
	if err != nil {
		return err
	}
	r.close(store)
	accounts, err := c.openAccounts(store, sys.Now())
	if err != nil {
		return err
	}
	aws := localaws.New(localaws.Config{
		Accounts: accounts,
		Region:   c.region,
		Issuers:  access,
		Now:      sys.Now, Log: r.log,
		Faults:           c.faults,
		Explain:          flags.Explainer(sys.Stderr, c.explain),
		STSErrors:        words,
		ConsistencyDelay: c.consistencyDelay,
	})
	fmt.Fprintln(sys.Stderr, "local AWS: not for production")
	if err := printAccounts(sys, "http://"+listener.Addr().String(), c.region, accounts); err != nil {
		return err
	}
	serveHTTPS(aws)
	r.addServer(httpserve.Server{Name: "aws", Handler: aws}, listener)
	return nil
}

// openAccounts makes or finds the accounts and loads what is declared. Without
// --account they are those of the data folder.
func (c *awsConfig) openAccounts(store account.Store, now time.Time) (*account.Set, error) {
	accounts, err := account.NewSet(store, c.accounts, now)
	if errors.Is(err, account.ErrNotFound) {
		accounts, err = account.NewSet(store, []string{defaultAccount}, now)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range c.seeds {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fault.New(fault.NotFound, "read the declared account: %w", err)
		}
		file, err := seed.Parse(name, text)
		if err != nil {
			return nil, err
		}
		if err := seed.Apply(accounts, file, now); err != nil {
			return nil, fault.New(fault.Invalid, "%s: %w", name, err)
		}
	}
	return accounts, nil
}

func (c *awsConfig) printDump(ctx context.Context, sys cli.System) error {
	store, err := account.Open(ctx, c.dataDir)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	accounts, err := account.NewSet(store, nil, sys.Now())
	if errors.Is(err, account.ErrNotFound) {
		return fault.New(fault.NotFound, "there are no accounts in %s", c.dataDir)
	}
	if err != nil {
		return err
	}
	text, err := seed.Dump(accounts)
	if err != nil {
		return err
	}
	_, err = sys.Stdout.Write(text)
	return err
}

// openStore opens the data folder, or memory if there is none.
func openStore(ctx context.Context, dir string) (account.Store, error) {
	if dir == "" {
		return account.NewMemory(), nil
	}
	return account.Open(ctx, dir)
}

// printAccounts writes the export lines of the default account's administrator;
// those of the other accounts as comments, which a shell passes over.
func printAccounts(sys cli.System, endpoint, region string, accounts *account.Set) error {
	for i, one := range accounts.All() {
		admin, err := one.AdminKey()
		switch {
		case errors.Is(err, account.ErrNotFound):
			fmt.Fprintf(sys.Stderr, "account %s: its user %s has no active access key\n", one.ID, account.Admin)
		case err != nil:
			return err
		case i == 0:
			flags.PrintExports(sys, endpoint, region, admin)
		default:
			fmt.Fprintf(sys.Stdout, "# account %s: AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n", one.ID,
				admin.AccessKeyID, admin.SecretKey.Reveal())
		}
	}
	return cli.WriteError(sys.Stdout)
}
