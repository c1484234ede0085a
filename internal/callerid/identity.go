package callerid

import (
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
)

// Kind is what kind of principal an identity is.
type Kind string

// The kinds of identities.
const (
	Root          Kind = "root"
	User          Kind = "user"
	Role          Kind = "role" // not from STS
	AssumedRole   Kind = "assumed-role"
	FederatedUser Kind = "federated-user"
)

// Identity is whose token it was, according to STS.
type Identity struct {
	Kind Kind
	// ARN is the one that STS returned; CanonicalARN is that of the principal
	// behind a session, see Canonical.
	ARN, CanonicalARN string
	AccountID         string
	// UserID is IAM's unique id, which no later identity of the same name has; for a
	// session it is the role's.
	UserID string
	// SessionName is chosen by the one who assumes the role; empty except for
	// roles.
	SessionName string
	// AccessKeyID is that of the credentials that signed, STSEndpoint the host
	// that was asked.
	AccessKeyID, STSEndpoint string
}

// Canonical returns the ARN by which an identity is known, and its kind: a
// session stands for its role. STS leaves out the role's path, so the result has
// none; a user keeps its own (spec authenticator §3.4).
func Canonical(text string) (canonical arn.ARN, kind Kind, err error) {
	a, err := arn.Parse(text)
	invalid := func(reason string) (arn.ARN, Kind, error) {
		return arn.ARN{}, "", fault.New(fault.Denied, "arn '%s' is invalid: %s", printable(text), reason)
	}
	switch {
	case err != nil:
		return invalid("it is not an ARN")
	case !arn.IsPartition(a.Partition):
		return invalid("its partition is not known")
	case a.Account == "" || a.Region != "":
		return invalid("want an account and no region")
	}
	kindName, rest, hasName := strings.Cut(a.Resource, "/")
	switch {
	case a.Service == "iam" && a.Resource == "root":
		return a, Root, nil
	case !hasName || rest == "" || strings.HasPrefix(rest, "/") || strings.HasSuffix(rest, "/"):
		return invalid("it names nobody")
	case a.Service == "iam" && kindName == "user":
		return a, User, nil
	case a.Service == "iam" && kindName == "role":
		return a, Role, nil
	case a.Service == "sts" && kindName == "federated-user":
		return a, FederatedUser, nil
	case a.Service == "sts" && kindName == "assumed-role":
		last := strings.LastIndexByte(rest, '/')
		if last < 0 {
			return invalid("assumed-role does not have a role and a session")
		}
		return arn.ARN{Partition: a.Partition, Service: "iam", Account: a.Account, Resource: "role/" + rest[:last]}, AssumedRole, nil
	}
	return invalid("it is not a user, role or session")
}

// identify combines the members of an answer, and refuses one that contradicts
// itself or is from another partition.
func (p *Presigned) identify(text, account, userID string) (*Identity, error) {
	canonical, kind, err := Canonical(text)
	if err != nil {
		return nil, refused(fault.Denied, "%w", err)
	}
	switch {
	case canonical.Partition != p.partition:
		return nil, refused(fault.Denied, "arn '%s' is invalid: it is not of partition %s", printable(text), p.partition)
	case account != canonical.Account:
		return nil, refused(fault.Denied, "arn '%s' is invalid: the answer names another account", printable(text))
	case userID == "":
		return nil, refused(fault.Denied, "malformed UserID: it is empty")
	}
	who := &Identity{
		Kind: kind, ARN: text, CanonicalARN: canonical.String(), AccountID: account, UserID: userID,
		AccessKeyID: p.AccessKeyID, STSEndpoint: p.Host,
	}
	if kind == Role || kind == AssumedRole {
		id, session, ok := strings.Cut(userID, ":")
		if !ok || id == "" || strings.Contains(session, ":") {
			return nil, refused(fault.Denied, "malformed UserID %s", quoted(userID))
		}
		who.UserID, who.SessionName = id, session
	}
	return who, nil
}
