package eks

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
)

// principal is an IAM user or role taken out of its ARN.
type principal struct {
	partition, account string
	kind, name         string // kind is user or role; name has no path
	path               string
	text               string
}

var principalResource = lazyregexp.New(`^(user|role)(/|/[!-)+->@-~]+/)([\w+=,.@-]{1,128})$`)

func parsePrincipal(text string) (principal, bool) {
	parsed, err := arn.Parse(text)
	parts := principalResource.FindStringSubmatch(parsed.Resource)
	if err != nil || len(text) > 2048 || parts == nil || parsed.Service != "iam" || parsed.Region != "" ||
		!arn.IsAccount(parsed.Account) {
		return principal{}, false
	}
	return principal{parsed.Partition, parsed.Account, parts[1], parts[3], parts[2], text}, true
}

// entryARN is that of the principal's access entry.
func (p principal) entryARN(q *service.Call, cluster string) string {
	return accessEntryARN(q.Account, q.Region, cluster, p.kind+"/"+p.account+"/"+p.name+"/"+uuid.NewString())
}

// CompleteEntry checks an access entry that was declared, and fills in what EKS
// knows itself; its ARN is the same each time.
func CompleteEntry(state account.State, cluster *Cluster, e *AccessEntry) error {
	p, ok := parsePrincipal(e.Principal)
	if !ok {
		return invalidParameter("The principalArn parameter format is not valid")
	}
	e.Type = cmp.Or(e.Type, standard)
	if _, known := types[e.Type]; !known {
		return invalidParameter("The type %s is invalid", e.Type)
	}
	input := entryInput{Groups: &e.Groups, Username: &e.Username}
	if err := input.check(e.Type); err != nil {
		return err
	}
	for _, one := range e.Policies {
		if err := errors.Join(
			CheckPolicy(state.Account(), e.Type, one.ARN), CheckScope(one.Scope, one.Namespaces),
		); err != nil {
			return err
		}
	}
	var err error
	if e.PrincipalID, err = p.checkFor(state, e.Type); err != nil {
		return err
	}
	e.Username, e.Groups = cmp.Or(e.Username, p.username(e.Type)), slices.Concat(types[e.Type], e.Groups)
	sum := sha256.Sum256([]byte(cluster.Region + "/" + cluster.Name + "/" + e.Principal))
	id, err := uuid.FromBytes(sum[:16])
	e.ARN = cmp.Or(
		e.ARN,
		accessEntryARN(state.Account(), cluster.Region, cluster.Name, p.kind+"/"+p.account+"/"+p.name+"/"+id.String()),
	)
	return err
}

// username is what an entry of a type gets if nobody says.
func (p principal) username(kind string) string {
	switch kind {
	case standard:
		if p.kind == "user" {
			return p.text
		}
		return "arn:" + p.partition + ":sts::" + p.account + ":assumed-role/" + p.name + "/{{SessionName}}"
	case "FARGATE_LINUX", "HYBRID_LINUX":
		return "system:node:{{SessionName}}"
	}
	return "system:node:{{EC2PrivateDNSName}}"
}

// standard is the type of entry that is for people and programs; the others are
// for nodes.
const standard = "STANDARD"

// types are the types of entries with the groups that EKS gives them.
var types = map[string][]string{
	standard:         {},
	"EC2":            {},
	"EC2_LINUX":      {"system:nodes"},
	"EC2_WINDOWS":    {"system:nodes", "eks:kube-proxy-windows"},
	"FARGATE_LINUX":  {"system:bootstrappers", "system:nodes", "system:node-proxier"},
	"HYBRID_LINUX":   {"system:bootstrappers", "system:nodes"},
	"HYPERPOD_LINUX": {"system:nodes"},
}

// checkFor refuses principals that cannot have an entry of a type in an account's
// cluster, and returns the unique id the principal has.
func (p principal) checkFor(state account.State, kind string) (id string, err error) {
	owner := state.Account()
	switch {
	case p.partition != owner.Partition:
		return "", invalidParameter("The principalArn parameter format is not valid")
	case strings.HasPrefix(p.path, "/aws-service-role/"):
		return "", invalidParameter(
			"The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role",
		)
	case kind != standard && (p.kind != "role" || p.account != owner.ID):
		return "", invalidParameter(
			"The specified principalArn is invalid: an access entry of type %s needs a role of the cluster's account.",
			kind,
		)
	}
	ids, missing, err := state.Principals([]string{p.text})
	if errors.Is(err, account.ErrNotFound) {
		return "", invalidParameter(
			"The specified principalArn is invalid: invalid principal.",
		).Because("there is no %s", missing)
	}
	return ids[p.text], err
}

var reserved = []string{"system:", "eks:", "aws:", "amazon:", "iam:"}

// checkUsername is spec authenticator §7.2.
func checkUsername(name string) error {
	for _, prefix := range reserved {
		if strings.HasPrefix(name, prefix) {
			return invalidParameter("The username %s is invalid, it cannot start with %s", name, prefix)
		}
	}
	for _, placeholder := range []string{"{{SessionName}}", "{{SessionNameRaw}}"} {
		if before, _, found := strings.Cut(name, placeholder); found && !strings.Contains(before, ":") {
			return invalidParameter("The username %s is invalid, it must contain a colon before %s", name, placeholder)
		}
	}
	return nil
}

func checkGroups(groups []string) error {
	for _, group := range groups {
		if strings.HasPrefix(group, "system:") {
			return invalidParameter("The kubernetes group name %s is invalid, it cannot start with system:", group)
		}
		if group == "" {
			return invalidParameter("The kubernetes group name is invalid, it cannot be empty")
		}
	}
	return nil
}
