package trust

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// probe is somebody who asks for the role.
type probe struct {
	who       string
	principal policy.Principal
	taking    policy.Taking
	context   map[string]string
}

// admits asks the engine, for all actions that the call needs.
func (p *probe) admits(trust *policy.Policy, account, partition string) policy.Decision {
	context := policy.NewContext()
	for key, value := range p.context {
		context.Set(key, value)
	}
	p.taking.AddContext(context)
	request := &policy.Request{
		Principal: p.principal, Action: p.taking.Action, Context: context, ResourceAccount: account,
		Resource: "arn:" + partition + ":iam::" + account + ":role/generated",
	}
	policies := &policy.Policies{Trust: trust}
	if p.principal.Kind == policy.RoleSession {
		policies.Identity = []*policy.Policy{policy.Everything()}
	}
	decision, _ := policy.DecideAll(request, p.taking.Actions(), policies)
	return decision
}

// verify asks the engine whether a document admits those who were asked for, and
// nobody else by the statements that were written (spec issuer-and-sts §15.2 rule
// 12). Whom other statements of a present document admit is said in notes.
func (r *Request) verify(parts []part, base *merging, text string) (notes []string, err error) {
	written := new(merging).write(parts)
	own, err := r.parse(written)
	if err != nil {
		return nil, err
	}
	if notes, err = slips(written); err != nil {
		return nil, err
	}
	whole := own
	if !base.isNew() {
		if whole, err = r.parse(text); err != nil {
			return nil, err
		}
	}
	account := r.owner()
	for _, one := range parts {
		allowed, denied := one.form.probes(one.units)
		for _, p := range allowed {
			if d := p.admits(own, account, r.Partition); d.Effect != policy.Allowed {
				return nil, fault.New(fault.Internal, "the generated document does not let in %s: %s", p.who, d.Reason)
			}
			if d := p.admits(whole, account, r.Partition); d.Effect != policy.Allowed {
				return nil, fault.New(fault.Conflict, "another statement of the present document keeps %s out: "+
					"%s", p.who, d.Reason).
					Hint("rolecall explain shows which one: a Deny overrides every Allow")
			}
		}
		for _, p := range denied {
			if d := p.admits(own, account, r.Partition); d.Effect == policy.Allowed {
				return nil, fault.New(fault.Internal, "the generated document also lets in %s", p.who)
			}
			if d := p.admits(whole, account, r.Partition); d.Effect == policy.Allowed {
				notes = append(notes, fmt.Sprintf("an existing statement also lets in %s", p.who))
			}
		}
	}
	return notes, nil
}

// slips refuses issuers that look like misspelt ones: no cluster has them. An
// audience may be anything, so an odd one is only noted.
func slips(text string) (notes []string, err error) {
	findings := policy.Lint(policy.Trust, "the generated document", []byte(text), policy.LintOptions{
		Role: &policy.RoleFacts{Quota: LargestQuota}, // what it must fit into is looked at elsewhere
	})
	for i := range findings {
		switch f := &findings[i]; {
		case f.Rule == "aud-slip":
			notes = append(notes, f.Message)
		case f.Severity == finding.Error:
			return nil, fault.New(fault.Usage, "%s", f.Message).Hint("--discovery URL reads what the cluster publishes")
		}
	}
	return slices.Compact(notes), nil
}

// parse reads a document as IAM does.
func (r *Request) parse(text string) (*policy.Policy, error) {
	parsed, err := policy.Parse(policy.Trust, "the generated document", []byte(text))
	if err != nil {
		return nil, fault.New(fault.Conflict, "%w", err)
	}
	return parsed, nil
}

// owner is the role's account, or if that is not given the account of those it
// trusts.
func (r *Request) owner() string {
	account := r.Account
	for _, text := range r.EKSClusters {
		parsed, _ := parseCluster(text)
		account = cmp.Or(account, parsed.Account)
	}
	for _, text := range []string{r.Broker.role(), r.Target.role()} {
		parsed, _ := arn.Parse(text)
		account = cmp.Or(account, parsed.Account)
	}
	return account
}

// neighbours are accounts that are easily admitted by mistake: the default one,
// the same name in another namespace, the same beginning.
func (r *Request) neighbours(units []int) []ServiceAccount {
	candidates := []ServiceAccount{{"default", "default"}}
	if first, last := units[0], units[len(units)-1]; first > 0 {
		candidates = append(candidates, r.ServiceAccounts[first-1].example()) // of the document before
	} else if last+1 < len(r.ServiceAccounts) {
		candidates = append(candidates, r.ServiceAccounts[last+1].example())
	}
	for _, unit := range units {
		e := r.ServiceAccounts[unit].example()
		candidates = append(
			candidates,
			ServiceAccount{e.Namespace, e.Name + "x"},
			ServiceAccount{e.Namespace + "x", e.Name},
			ServiceAccount{"other-" + e.Namespace, e.Name},
		)
	}
	var outside []ServiceAccount
next:
	for _, candidate := range candidates {
		for _, unit := range units {
			if r.ServiceAccounts[unit].covers(candidate) {
				continue next
			}
		}
		outside = append(outside, candidate)
	}
	return outside
}

func (r *Request) webProbes(issuer, provider string, units []int) (allowed, denied []probe) {
	ask := func(who, arn, audience, subject string) probe {
		p := probe{
			who:       who,
			principal: policy.Principal{Kind: policy.WebIdentity, ARN: arn, UserID: arn, Account: r.Account},
			taking:    policy.Taking{Action: webIdentity, SessionName: "probe"},
			context:   map[string]string{issuer + ":aud": audience, issuer + ":sub": subject},
		}
		if r.Tagged {
			p.taking.Tags = []policy.Tag{{Key: "kubernetes-namespace", Value: "probe"}}
		}
		return p
	}
	for _, unit := range units {
		subject := r.ServiceAccounts[unit].example().Subject()
		allowed = append(allowed, ask(subject, provider, r.Audience, subject))
		denied = append(denied,
			ask(subject+" with another audience", provider, r.Audience+"x", subject),
			ask(subject+" of another issuer", provider+"x", r.Audience, subject))
	}
	for _, one := range r.neighbours(units) {
		denied = append(denied, ask(one.Subject(), provider, r.Audience, one.Subject()))
	}
	return allowed, denied
}

// podTags are what EKS and a broker say about a pod.
func podTags(cluster, namespace, name string) []policy.Tag {
	return []policy.Tag{
		{Key: "eks-cluster-arn", Value: cluster},
		{Key: "kubernetes-namespace", Value: namespace},
		{Key: "kubernetes-service-account", Value: name},
	}
}

func (r *Request) eksProbes(units []int) (allowed, denied []probe) {
	ask := func(who, account, cluster string) probe {
		p := probe{
			who:       who,
			principal: policy.Principal{Kind: policy.Service, ARN: podService},
			taking: policy.Taking{
				Action:      assumeRole,
				SessionName: "probe",
				Tags:        podTags(cluster, "probe", "probe"),
			},
		}
		if cluster != "" {
			p.context = map[string]string{"aws:SourceAccount": account, "aws:SourceArn": cluster}
		}
		return p
	}
	for _, unit := range units {
		text := r.EKSClusters[unit]
		parsed, _ := parseCluster(text)
		foreign := strings.Repeat("9", 12)
		if foreign == parsed.Account {
			foreign = strings.Repeat("8", 12)
		}
		elsewhere := strings.Replace(text, ":"+parsed.Account+":", ":"+foreign+":", 1)
		allowed = append(allowed, ask(text, parsed.Account, text))
		denied = append(denied, ask("EKS for "+elsewhere, foreign, elsewhere), ask("EKS for no cluster", "", ""))
		if !subset([]string{text + "x"}, r.EKSClusters) {
			denied = append(denied, ask("EKS for "+text+"x", parsed.Account, text+"x"))
		}
	}
	return allowed, denied
}

// session is one of a role.
func session(roleARN string) policy.Principal {
	role, _ := arn.ParseRole(roleARN) // check has validated it
	return policy.Principal{
		Kind:    policy.RoleSession,
		ARN:     role.Session("probe").String(),
		RoleARN: roleARN,
		Account: role.Account,
	}
}

func (r *Request) brokerProbes(units []int) (allowed, denied []probe) {
	ask := func(who, role, cluster, id string, one ServiceAccount) probe {
		return probe{who: who, principal: session(role), taking: policy.Taking{
			Action: assumeRole, SessionName: "probe", ExternalID: id, Tags: podTags(cluster, one.Namespace, one.Name),
		}}
	}
	role, cluster := r.Broker.RoleARN, r.Broker.ClusterARN
	id := func(one ServiceAccount) string { return externalIDs(cluster, []ServiceAccount{one})[0] }
	for _, unit := range units {
		one := r.ServiceAccounts[unit]
		untagged := ask(one.String()+" without tags", role, cluster, id(one), one)
		untagged.taking.Tags = nil
		allowed = append(allowed, ask(one.String(), role, cluster, id(one), one))
		denied = append(denied, untagged,
			ask(one.String()+" with another external id", role, cluster, id(one)+"x", one),
			ask(one.String()+" without external id", role, cluster, "", one),
			ask(one.String()+" of another cluster", role, cluster+"x", id(one), one),
			ask(one.String()+" by another role", role+"x", cluster, id(one), one))
	}
	for _, one := range r.neighbours(units) {
		denied = append(denied, ask(one.String(), role, cluster, id(one), one))
	}
	return allowed, denied
}

func (r *Request) targetProbes(units []int) (allowed, denied []probe) {
	ask := func(who, role, id string) probe {
		return probe{who: who, principal: session(role), taking: policy.Taking{
			Action:      assumeRole,
			SessionName: "probe",
			ExternalID:  id,
			Inherited:   policy.Inheritance{TransitiveTags: podTags("c", "n", "s")},
		}}
	}
	role := r.Target.SourceRoleARN
	id := func(one ServiceAccount) string { return externalIDs(r.Target.ClusterARN, []ServiceAccount{one})[0] }
	for _, unit := range units {
		one := r.ServiceAccounts[unit]
		allowed = append(allowed, ask(one.String(), role, id(one)))
		denied = append(
			denied,
			ask(one.String()+" by another role", role+"x", id(one)),
			ask(one.String()+" without external id", role, ""),
		)
	}
	for _, one := range r.neighbours(units) {
		denied = append(denied, ask(one.String(), role, id(one)))
	}
	return allowed, denied
}
