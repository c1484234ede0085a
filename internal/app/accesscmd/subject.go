package accesscmd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// subject says who is asked about.
type subject struct {
	arn, token, profile   string
	userID, session       string
	clusterName, nodeName string
}

func (s *subject) flags(cmd *cobra.Command) {
	cli.Group(cmd, "Who is asked about", func(f *pflag.FlagSet) {
		f.StringVar(&s.arn, "arn", "", "ARN of a role, user or session")
		f.StringVar(&s.token, "token", "", "a token k8s-aws-v1.…, which STS is asked about; - reads it from standard input")
		f.StringVar(&s.profile, "profile", "", "AWS profile; without any of the three it is the AWS environment's identity")
		f.StringVar(&s.userID, "user-id", "", "with --arn: the principal's unique id, AROA… or AIDA…")
		f.StringVar(&s.session, "session-name", "", "with --arn of a role: name of the session")
		f.StringVar(&s.clusterName, "cluster-name", "", "with --token: name of the cluster that it is for")
		f.StringVar(&s.nodeName, "node-name", "", "private DNS name of the instance, if the identity is a node's")
	})
	cmd.MarkFlagsMutuallyExclusive("arn", "token", "profile")
}

// identity finds out who it is. asked says how.
func (s *subject) identity(ctx context.Context, sys cli.System, partition string) (*callerid.Identity, error) {
	switch {
	case s.arn == "" && (s.userID != "" || s.session != ""):
		return nil, cli.Usage("--user-id and --session-name go with --arn")
	case s.token == "" && s.clusterName != "":
		return nil, cli.Usage("--cluster-name goes with --token")
	case s.arn != "":
		return s.ofARN()
	case s.token != "":
		return s.ofToken(ctx, sys, partition)
	}
	said, err := awsapi.ProfileIdentity(ctx, s.profile)
	if err != nil {
		return nil, unknownToAWS(err)
	}
	who, err := identityOf(said.ARN, said.UserID)
	if err != nil {
		return nil, err
	}
	who.AccessKeyID = "ASIAEXAMPLEEXAMPLE"
	return who, nil
}

// ofARN takes an ARN at its word.
func (s *subject) ofARN() (*callerid.Identity, error) {
	if strings.Contains(s.arn, ":group/") {
		return nil, cli.Usage("%s is an IAM group: groups do not log in, their members do", s.arn).
			Hint("ask about a member: arn:aws:iam::ACCOUNT:user/NAME")
	}
	read, err := access.ReadPrincipal(s.arn)
	if err != nil {
		return nil, cli.Usage("--arn: %w", err)
	}
	id := s.userID
	who, err := identityOf(s.arn, "")
	if err != nil {
		return nil, cli.Usage("--arn: %w", err)
	}
	who.CanonicalARN, who.UserID = read.ARN, id
	if who.Kind == callerid.User || who.Kind == callerid.Root || who.Kind == callerid.FederatedUser {
		if s.session != "" {
			return nil, cli.Usage("--session-name goes with a role: %s has no sessions", s.arn)
		}
		return who, nil
	}
	if who.Kind == callerid.Role {
		who.Kind = callerid.AssumedRole
		who.ARN = strings.Replace(strings.Replace(read.ARN, ":iam:", ":sts:", 1), ":role/", ":assumed-role/", 1) + "/" +
			cmp.Or(s.session, exampleSession)
		who.SessionName = exampleSession
	}
	who.SessionName = cmp.Or(s.session, who.SessionName)
	return who, nil
}

// exampleSession stands for the name of a session that was not said.
const exampleSession = "SESSION"

// ofToken asks STS, as a server does.
func (s *subject) ofToken(ctx context.Context, sys cli.System, partition string) (*callerid.Identity, error) {
	if s.clusterName == "" {
		return nil, cli.Usage("which cluster is the token for?").Hint("add --cluster-name NAME: STS refuses it for another one")
	}
	text := s.token
	if text == "-" {
		read, err := io.ReadAll(io.LimitReader(sys.Stdin, maxToken+1))
		if err != nil {
			return nil, fault.New(fault.Unavailable, "read the token: %w", err)
		}
		text = strings.TrimSpace(string(read))
	}
	parsed, err := callerid.Parse(credential.NewSecret(text), callerid.Policy{Partition: partition}, sys.Now())
	if err != nil {
		return nil, err
	}
	callers, err := awsapi.NewCallers(ctx, awsapi.CallersConfig{Cluster: s.clusterName})
	if err != nil {
		return nil, err
	}
	return callers.Identify(ctx, parsed)
}

// maxToken is longer than any token that is taken, in bytes.
const maxToken = 64 << 10

// identityOf reads what STS says of a caller; an empty id is not known.
func identityOf(text, userID string) (*callerid.Identity, error) {
	canonical, kind, err := callerid.Canonical(text)
	if err != nil {
		return nil, err
	}
	who := &callerid.Identity{
		Kind: kind, ARN: text, CanonicalARN: canonical.String(), AccountID: canonical.Account, UserID: userID,
	}
	if kind == callerid.AssumedRole {
		who.SessionName = text[strings.LastIndexByte(text, '/')+1:]
		who.UserID, _, _ = strings.Cut(userID, ":")
	}
	return who, nil
}

func unknownToAWS(err error) error {
	if answer, isAWS := errors.AsType[*awsapi.Error](err); isAWS {
		return fault.New(fault.Denied, "AWS does not say who this is: %w", err).
			Hint("request %s: the credentials may have expired; aws sts get-caller-identity shows it too", answer.RequestID)
	}
	return fault.New(fault.Unavailable, "ask AWS who this is: %w", err).
		Hint("no credentials were found, or no endpoint answered; add --profile NAME, or ask about an --arn")
}

// nodeNameOf answers for the one instance that the caller named.
func (s *subject) nodeNameOf() access.NodeName {
	if s.nodeName == "" {
		return nil
	}
	return func(string) (string, error) { return s.nodeName, nil }
}
