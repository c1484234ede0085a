// Package decidecmd has the commands that decide a request against documents in files: can
// says yes or no, explain says why.
//
// Decisions are made in internal/policy.
package decidecmd

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/policyfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/managedpolicy"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/policycase"
)

// question is one request and the documents that decide it, from flags; can and
// explain share it.
type question struct {
	principal, resource, resourceAccount string
	actions                              []string
	context                              []string
	taking                               policy.Taking
	tags, transitive                     []string
	identity, session, endpoint          []string
	boundary, trust, resourcePolicy      string
	scp, rcp                             []string
	strict                               bool
}

func (q *question) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.principal, "principal", "", "who asks: the ARN of a user, role, session, provider or root user, the name of a service, or anonymous")
	f.StringArrayVar(&q.actions, "action", nil, "what is asked, as SERVICE:NAME; may be repeated, all must be allowed")
	f.StringVar(&q.resource, "resource", "*", "the resource's ARN; * for actions without one")
	f.StringVar(&q.resourceAccount, "resource-account", "", "the resource's owner, 12 digits; needed for S3, whose ARNs have no account")
	f.StringArrayVar(&q.context, "context", nil, "a condition key as KEY=VALUE; repeated for a key with several values")
	f.StringArrayVar(&q.tags, "tag", nil, "a session tag that the call passes, as KEY=VALUE")
	f.StringArrayVar(&q.transitive, "transitive-tag", nil, "the key of a session tag that is transitive")
	f.StringVar(&q.taking.SessionName, "session-name", "", "the role session's name, for calls that take a role")
	f.StringVar(&q.taking.ExternalID, "external-id", "", "the external id, for sts:AssumeRole")
	f.StringVar(&q.taking.SourceIdentity, "source-identity", "", "the source identity, for calls that take a role")
	f.StringArrayVar(&q.identity, "policy", nil, "a file with an identity-based policy of the caller, or the name or ARN of an AWS managed policy; may be repeated")
	f.StringVar(&q.boundary, "boundary", "", "a file with the caller's permissions boundary, or an AWS managed policy, or none")
	f.StringArrayVar(&q.session, "session-policy", nil, "a file with a policy of the caller's session, or none; may be repeated")
	f.StringVar(&q.trust, "trust", "", "a file with the role's trust policy, for actions that take the role")
	f.StringVar(&q.resourcePolicy, "resource-policy", "", "a file with the resource's own policy, or none")
	f.StringArrayVar(&q.scp, "scp", nil, "files with the service control policies of one level, separated by commas, or none; repeated from the root to the account")
	f.StringArrayVar(&q.rcp, "rcp", nil, "files with the resource control policies of one level, as --scp")
	f.StringArrayVar(&q.endpoint, "endpoint-policy", nil, "a file with the policy of a VPC endpoint that the call goes through; may be repeated")
	f.BoolVar(&q.strict, "strict", false, "say unknown when a fact that was not given may change the answer")
	for _, name := range []string{"policy", "boundary", "session-policy", "trust", "resource-policy", "scp", "rcp", "endpoint-policy"} {
		_ = cmd.MarkFlagFilename(name, "json")
	}
}

// read makes the request and compiles the documents.
func (q *question) read(stdin io.Reader) (*policy.Request, *policy.Policies, error) {
	request, err := q.request()
	if err != nil {
		return nil, nil, err
	}
	r := documentReader{stdin: stdin}
	policies := q.policies(&r, request)
	return request, policies, r.err
}

func (q *question) request() (*policy.Request, error) {
	if q.principal == "" || len(q.actions) == 0 {
		return nil, fault.New(fault.Usage, "--principal and --action are needed").Hint("rolecall can --principal arn:aws:iam::111122223333:role/app --action s3:GetObject --resource arn:aws:s3:::bucket/key --policy policy.json")
	}
	request := &policy.Request{Resource: q.resource, ResourceAccount: q.resourceAccount, Context: policy.NewContext().Incomplete()}
	if !strings.EqualFold(q.principal, "anonymous") {
		principal, err := policycase.PrincipalOf(q.principal)
		if err != nil {
			return nil, fault.New(fault.Usage, "--principal: %s", strings.TrimPrefix(err.Error(), "principal: ")).Hint("want an ARN, the name of a service such as pods.eks.amazonaws.com, or anonymous")
		}
		request.Principal = principal
	}
	for _, action := range q.actions {
		if service, name, found := strings.Cut(action, ":"); !found || service == "" || name == "" || strings.ContainsAny(action, "*? ") {
			return nil, fault.New(fault.Usage, "--action %q: want one action as SERVICE:NAME", action).Hint("such as s3:GetObject; --action may be repeated")
		}
	}
	if err := q.addContext(request.Context); err != nil {
		return nil, err
	}
	policycase.Identify(request)
	return request, q.take(request)
}

func (q *question) addContext(c *policy.Context) error {
	values, order := map[string][]string{}, []string{}
	for _, pair := range q.context {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return fault.New(fault.Usage, "--context %q: want KEY=VALUE", pair).Hint("such as --context aws:SourceIp=203.0.113.9")
		}
		if values[key] == nil {
			order = append(order, key)
		}
		values[key] = append(values[key], value)
	}
	for _, key := range order {
		if len(values[key]) == 1 {
			c.Set(key, values[key][0])
		} else {
			c.SetMulti(key, values[key])
		}
	}
	return nil
}

// take adds what a call that takes a role asks for besides.
func (q *question) take(request *policy.Request) error {
	t := &q.taking
	t.TransitiveKeys = q.transitive
	for _, pair := range q.tags {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return fault.New(fault.Usage, "--tag %q: want KEY=VALUE", pair).Hint("such as --tag team=red")
		}
		t.Tags = append(t.Tags, policy.Tag{Key: key, Value: value})
	}
	if refused := t.Check(); refused != nil {
		return fault.New(fault.Denied, "AWS refuses these tags: %s", refused.Message)
	}
	t.AddContext(request.Context)
	i := slices.IndexFunc(q.actions, func(a string) bool {
		return len(a) > 14 && strings.EqualFold(a[:14], "sts:AssumeRole") || strings.EqualFold(a, "sts:AssumeRole")
	})
	if i < 0 {
		return nil
	}
	t.Action = q.actions[i]
	for _, action := range t.Actions() {
		if !slices.ContainsFunc(q.actions, func(a string) bool { return strings.EqualFold(a, action) }) {
			q.actions = append(q.actions, action)
		}
	}
	return nil
}

// none declares that there is no document of a kind.
const none = "none"

func (q *question) policies(r *documentReader, request *policy.Request) *policy.Policies {
	p := &policy.Policies{
		Identity: r.all(policy.Identity, q.identity),
		Boundary: r.one(policy.Boundary, q.boundary),
		Session:  r.all(policy.Session, q.session),
		Trust:    r.one(policy.Trust, q.trust),
		Resource: r.one(policy.Resource, q.resourcePolicy),
		SCP:      r.levels(policy.SCP, q.scp),
		RCP:      r.levels(policy.RCP, q.rcp),
		Endpoint: r.all(policy.Endpoint, q.endpoint),
	}
	p.HasSession = len(p.Session) > 0
	unread := func(kind policy.Kind, given bool) {
		if !given {
			p.Unread = append(p.Unread, kind)
		}
	}
	switch request.Principal.Kind {
	case policy.User, policy.RoleSession, policy.FederatedUser:
		unread(policy.Identity, len(q.identity) > 0)
		unread(policy.Boundary, q.boundary != "")
		if request.Principal.Kind == policy.RoleSession {
			unread(policy.Session, len(q.session) > 0)
		}
		unread(policy.SCP, len(q.scp) > 0)
	case policy.Root:
		unread(policy.SCP, len(q.scp) > 0)
	case policy.Anonymous, policy.Service, policy.WebIdentity:
	}
	if q.taking.Action != "" {
		unread(policy.Trust, q.trust != "")
	} else {
		unread(policy.Resource, q.resourcePolicy != "")
	}
	unread(policy.RCP, len(q.rcp) > 0)
	return p
}

// documentReader reads documents from files and keeps the first error.
type documentReader struct {
	stdin io.Reader
	err   error
}

func (r *documentReader) one(kind policy.Kind, file string) *policy.Policy {
	if file == "" || file == none || r.err != nil {
		return nil
	}
	name, text, err := r.text(kind, file)
	if err == nil {
		var parsed *policy.Policy
		if parsed, err = policy.Parse(kind, name, text); err == nil {
			return parsed
		}
		err = policyfile.Fault(err)
	}
	r.err = err
	return nil
}

// text reads a file, standard input for -, or an AWS managed policy by name.
func (r *documentReader) text(kind policy.Kind, file string) (name string, text []byte, err error) {
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(r.stdin, policyfile.MaxBytes))
		return "standard input", text, err
	}
	hint := "give a file with one policy document"
	if kind == policy.Identity || kind == policy.Boundary {
		hint += ", or the name of an AWS managed policy"
	}
	text, err = policyfile.ReadDocument(file, hint)
	if kind != policy.Identity && kind != policy.Boundary {
		return file, text, err
	}
	if managed, found := managedpolicy.Find(file); found && (errors.Is(err, os.ErrNotExist) || strings.HasPrefix(file, "arn:")) {
		return managed.Name + " " + managed.VersionID, []byte(managed.Document), nil
	}
	return file, text, err
}

func (r *documentReader) all(kind policy.Kind, files []string) []*policy.Policy {
	var parsed []*policy.Policy
	for _, file := range files {
		if one := r.one(kind, file); one != nil {
			parsed = append(parsed, one)
		}
	}
	return parsed
}

func (r *documentReader) levels(kind policy.Kind, levels []string) [][]*policy.Policy {
	var parsed [][]*policy.Policy
	for _, level := range levels {
		if level != none {
			parsed = append(parsed, r.all(kind, strings.Split(level, ",")))
		}
	}
	return parsed
}
