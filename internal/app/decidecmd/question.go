// Package decidecmd has the commands that decide a request against documents in files: can
// says yes or no, explain says why.
//
// It decides nothing itself: decisions, and which policies concern whom, are in
// internal/policy.
package decidecmd

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/policyfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/managedpolicy"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/policycase"
)

// question is one request and the documents that decide it, from flags; can and
// explain share it.
type question struct {
	// command is the name of the one that asks, for hints.
	command                              string
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
	q.command = cmd.Name()
	f := cmd.Flags()
	f.StringVar(&q.principal, "principal", "",
		"who asks: the ARN of a user, role, session, provider or root user, the name of a service, or anonymous")
	f.StringArrayVar(&q.actions, "action", nil,
		"what is asked, as SERVICE:NAME; may be repeated, all must be allowed")
	f.StringVar(&q.resource, "resource", "*", "ARN of the resource; * for actions without one")
	f.StringVar(&q.resourceAccount, "resource-account", "",
		"owner of the resource, 12 digits; needed for S3, whose ARNs have no account")
	f.StringArrayVar(&q.context, "context", nil,
		"a condition key as KEY=VALUE; repeated for a key with several values")
	f.StringArrayVar(&q.tags, "tag", nil, "a session tag that the call passes, as KEY=VALUE; may be repeated")
	f.StringArrayVar(&q.transitive, "transitive-tag", nil,
		"key of a session tag that is transitive; may be repeated")
	f.StringVar(&q.taking.SessionName, "session-name", "", "name of the role session, for calls that assume a role")
	f.StringVar(&q.taking.ExternalID, "external-id", "", "external id, for sts:AssumeRole")
	f.StringVar(&q.taking.SourceIdentity, "source-identity", "", "source identity, for calls that assume a role")
	f.StringArrayVar(&q.identity, "policy", nil,
		"file with an identity-based policy of the caller, or name or ARN of an AWS managed policy; may be repeated")
	f.StringVar(&q.boundary, "boundary", "",
		"file with the caller's permissions boundary, or name or ARN of an AWS managed policy, or none")
	f.StringArrayVar(&q.session, "session-policy", nil,
		"file with a policy of the caller's session, or none; may be repeated")
	f.StringVar(&q.trust, "trust", "", "file with the role's trust policy, for actions that assume the role")
	f.StringVar(&q.resourcePolicy, "resource-policy", "", "file with the resource's own policy, or none")
	f.StringArrayVar(&q.scp, "scp", nil,
		"files with the service control policies of one level, separated by commas, or none; "+
			"repeated from the root to the account")
	f.StringArrayVar(&q.rcp, "rcp", nil, "files with the resource control policies of one level, as --scp")
	f.StringArrayVar(&q.endpoint, "endpoint-policy", nil,
		"file with the policy of a VPC endpoint that the call goes through; may be repeated")
	f.BoolVar(&q.strict, "strict", false, "answer Unknown when a fact that was not given can change the answer")
	for _, name := range []string{"session-policy", "trust", "resource-policy", "scp", "rcp", "endpoint-policy"} {
		cli.CompleteFiles(cmd, name, "json")
	}
	for _, name := range []string{"policy", "boundary"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completePolicies)
	}
}

// completePolicies offers JSON files and AWS managed policies; where neither begins so, a
// shell offers what files and folders there are.
func completePolicies(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	offered, _ := filepath.Glob(toComplete + "*.json") // a bad pattern finds nothing
	for _, managed := range managedpolicy.All() {
		if strings.HasPrefix(managed.Name, toComplete) {
			offered = append(offered, managed.Name)
		}
	}
	return offered, cobra.ShellCompDirectiveDefault
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
		return nil, fault.New(fault.Usage, "--principal and --action are required").
			Hint("rolecall %s --principal arn:aws:iam::111122223333:role/app --action s3:GetObject "+
				"--resource arn:aws:s3:::bucket/key --policy policy.json", q.command)
	}
	request := &policy.Request{
		Resource:        q.resource,
		ResourceAccount: q.resourceAccount,
		Context:         policy.NewContext().Incomplete(),
	}
	if !strings.EqualFold(q.principal, "anonymous") {
		principal, err := policycase.PrincipalOf(q.principal)
		if err != nil {
			return nil, fault.New(fault.Usage, "--principal: %s", strings.TrimPrefix(err.Error(), "principal: ")).
				Hint("want an ARN, the name of a service such as pods.eks.amazonaws.com, or anonymous")
		}
		request.Principal = principal
	}
	for _, action := range q.actions {
		if !policy.IsAction(action) {
			return nil, fault.New(fault.Usage, "--action %q: want one action as SERVICE:NAME", action).
				Hint("such as s3:GetObject; --action may be repeated")
		}
	}
	if err := q.addContext(request.Context); err != nil {
		return nil, err
	}
	policycase.Identify(request)
	return request, q.assume(request)
}

func (q *question) addContext(c *policy.Context) error {
	values, order := map[string][]string{}, []string{}
	for _, pair := range q.context {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return fault.New(fault.Usage, "--context %q: want KEY=VALUE", pair).
				Hint("such as --context aws:SourceIp=203.0.113.9")
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

// assume adds what a call that assumes a role asks for besides.
func (q *question) assume(request *policy.Request) error {
	t := &q.taking
	t.TransitiveKeys = q.transitive
	for _, pair := range q.tags {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return fault.New(fault.Usage, "--tag %q: want KEY=VALUE", pair).
				Hint("such as --tag team=red")
		}
		t.Tags = append(t.Tags, policy.Tag{Key: key, Value: value})
	}
	if refused := t.Check(); refused != nil {
		return fault.New(fault.Denied, "AWS refuses these tags: %s", refused.Message)
	}
	t.AddContext(request.Context)
	i := slices.IndexFunc(q.actions, policy.AssumesRole)
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
	given := map[policy.Kind]bool{
		policy.Identity: len(q.identity) > 0,
		policy.Boundary: q.boundary != "",
		policy.Session:  len(q.session) > 0,
		policy.Trust:    q.trust != "",
		policy.Resource: q.resourcePolicy != "",
		policy.SCP:      len(q.scp) > 0,
		policy.RCP:      len(q.rcp) > 0,
	}
	for _, kind := range policy.Concerned(request.Principal.Kind, q.taking.Action != "") {
		if !given[kind] {
			p.Unread = append(p.Unread, kind)
		}
	}
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
	managed, found := managedpolicy.Find(file)
	if found && (errors.Is(err, os.ErrNotExist) || strings.HasPrefix(file, "arn:")) {
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
