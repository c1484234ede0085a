// Package issuercmd has the commands of `rolecall issuer`: their flags, and what they print.
//
// It has no rules of its own: what is right for an issuer is said in internal/issuer and
// internal/rotation, for these commands and for the controller alike.
package issuercmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/desk"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/planefile"
)

// New returns the command with all below it.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:     "issuer",
		Aliases: []string{"issuers"},
		Short:   "Publish a cluster's token keys for AWS, check and rotate them",
		Long: `Make any cluster an identity provider that AWS trusts: publish the keys of its
service-account tokens, check them as STS does, rotate them without a failed request.

All commands work in one folder, --dir: issuer.yaml says what is published where
(an Issuer object, which the controller takes as it is), sa.key and sa.pub are for
the API servers, rotation.json holds the progress of a rotation.`,
		Example: `  rolecall issuer init --name prod --bucket example-oidc --region eu-west-1
  rolecall issuer verify
  rolecall issuer rotate --kubeconfig admin.conf`,
	}, newIssuerInit(sys), newIssuerJWKS(sys), newIssuerPublish(sys), newIssuerVerify(sys),
		newIssuerRotate(sys))
}

// dirFlag is the folder that all issuer commands share.
type dirFlag struct {
	dir   string
	plane flags.Plane
}

func (f *dirFlag) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "dir", "issuer", "folder of the issuer's files")
	f.plane.Add(cmd)
	_ = cmd.MarkFlagDirname("dir")
}

func (f *dirFlag) folder() desk.Folder { return desk.Folder(f.dir) }

// load reads issuer.yaml, which must be of the issuer that the plane's file names.
func (f *dirFlag) load() (*v1alpha1.Issuer, error) {
	said, err := f.plane.Load()
	if err != nil {
		return nil, err
	}
	object, err := f.folder().Load()
	if err != nil {
		return nil, err
	}
	if issuer := said.Get(planefile.TokenIssuer); issuer != "" && issuer != object.Spec.URL {
		return nil, fault.New(fault.Conflict, "%s is of issuer %s, and %s of the plane's file is %s",
			f.folder().IssuerFile(), object.Spec.URL, planefile.TokenIssuer, issuer).
			Hint("name the folder of that issuer with --dir, or correct the file")
	}
	return object, nil
}

// openDesk opens the folder with what the flags say of the cluster and of readers.
func openDesk(
	ctx context.Context, sys cli.System, dir dirFlag, cluster flags.APIServers, read flags.IssuerReader,
) (*desk.Desk, error) {
	object, err := dir.load()
	if err != nil {
		return nil, err
	}
	d := &desk.Desk{Folder: dir.folder(), Issuer: object, Now: sys.Now, Tell: tellPublished(sys)}
	if d.Reader, err = read.Reader(); err != nil {
		return nil, err
	}
	if d.Servers, err = cluster.Servers(ctx, object.Spec.APIServers); err != nil {
		return nil, err
	}
	d.Store, err = store.Open(ctx, &object.Spec.Publish, accounts.Bucket, cluster.Client)
	return d, err
}
