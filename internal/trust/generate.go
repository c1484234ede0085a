package trust

import (
	"fmt"
	"slices"
	"sort"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/policy"
)

// part is a form in a document, with the units of it that the document holds.
type part struct {
	form  form
	units []int
}

// Generate writes the trust policy, or several if one cannot hold everything.
// The engine has checked each: those who were asked for are admitted, others
// are not. Errors are of kind Usage, Denied for hazards, Invalid for a present
// document that is refused, Conflict for one that cannot be merged into.
func Generate(request Request) (*Result, error) {
	r, err := request.check()
	if err != nil {
		return nil, err
	}
	forms := r.forms()
	base := new(merging)
	if r.Present != nil {
		if base, err = readPresent(r.Present, forms); err != nil {
			return nil, err
		}
	}
	packed, err := pack(forms, base, r.Quota)
	if err != nil {
		return nil, err
	}
	first := base
	result := &Result{Quota: r.Quota, Needs: r.needs(), Notes: r.notes()}
	for i, parts := range packed {
		if i > 0 {
			base = new(merging)
		}
		text := base.write(parts)
		notes, err := r.verify(parts, base, text)
		if err != nil {
			return nil, err
		}
		result.Notes = append(result.Notes, notes...)
		document := Document{Text: text, Size: policy.Size(text)}
		for _, one := range parts {
			for _, unit := range one.units {
				document.Admits = append(document.Admits, one.form.units[unit])
			}
		}
		result.Documents = append(result.Documents, document)
	}
	if len(packed) > 1 {
		note := fmt.Sprintf("one document would have more than %d characters: create %d roles with the same permissions, one for each document", r.Quota, len(packed))
		if quota := quotaFor(forms, first, r.Quota); quota > 0 {
			note += fmt.Sprintf(", or raise the quota: "+quotaCommand, quota)
		}
		result.Notes = append(result.Notes, note)
	}
	return result, nil
}

// quotaCommand asks AWS for a larger quota (spec issuer-and-sts §15.1).
const quotaCommand = "aws service-quotas request-service-quota-increase --region us-east-1 --service-code iam --quota-code L-C07B4B0D --desired-value %d"

// enough is the quota to ask for, given the size of the document.
func enough(size int) int {
	if size <= MiddleQuota {
		return MiddleQuota
	}
	return LargestQuota
}

// quotaFor returns the quota under which one document would be enough, 0 if
// there is no such quota.
func quotaFor(forms []form, base *merging, present int) int {
	for _, quota := range []int{MiddleQuota, LargestQuota} {
		if quota <= present {
			continue
		}
		if packed, err := pack(forms, base, quota); err == nil && len(packed) == 1 {
			return quota
		}
	}
	return 0
}

// pack spreads the forms over documents. A form stays whole if one document can
// hold it, so that the pods of a cluster use one role.
func pack(forms []form, base *merging, quota int) ([][]part, error) {
	var packed [][]part
	var current []part
	fits := func(parts []part) bool {
		into := base
		if len(packed) > 0 {
			into = new(merging)
		}
		return policy.Size(into.write(parts)) <= quota
	}
	flush := func() { packed, current = append(packed, current), nil }
	with := func(f form, units []int) []part { return append(slices.Clip(current), part{f, units}) }
	for _, f := range forms {
		rest := make([]int, len(f.units))
		for i := range rest {
			rest[i] = i
		}
		for len(rest) > 0 {
			if fits(with(f, rest)) {
				current, rest = with(f, rest), nil
				break
			}
			if fresh := new(merging); len(current) > 0 && policy.Size(fresh.write([]part{{f, rest}})) <= quota {
				flush()
				continue
			}
			n := sort.Search(len(rest), func(n int) bool { return !fits(with(f, rest[:n+1])) })
			switch {
			case n > 0:
				current, rest = with(f, rest[:n]), rest[n:]
				flush()
			case len(current) > 0:
				flush()
			default:
				size := policy.Size(base.write(with(f, rest[:1])))
				refused := fault.New(fault.Conflict, "%s does not fit: the document has %d characters with it, the quota is %d", f.units[rest[0]], size, quota)
				if size <= LargestQuota {
					refused = refused.Hint(quotaCommand, enough(size))
				}
				return nil, refused
			}
		}
	}
	if len(current) > 0 {
		flush()
	}
	return packed, nil
}

// needs lists the providers that must be in the role's account: STS looks for
// them there and nowhere else (spec issuer-and-sts §14.2).
func (r *Request) needs() []Need {
	needs := []Need{}
	for _, issuer := range r.Issuers {
		url, provider := "https://"+issuer, r.providerARN(issuer)
		needs = append(needs, Need{
			ProviderARN: provider, URL: url, Audience: r.Audience,
			Create:   "aws iam create-open-id-connect-provider --url " + fault.Quote(url) + " --client-id-list " + fault.Quote(r.Audience),
			Register: "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn " + fault.Quote(provider) + " --client-id " + fault.Quote(r.Audience),
		})
	}
	return needs
}

// notes are about the request itself.
func (r *Request) notes() []string {
	notes := []string{}
	for _, one := range r.ServiceAccounts {
		if why := one.Hazard(); why != "" {
			notes = append(notes, fmt.Sprintf("%s is allowed as you said, although %s", one, why))
		}
	}
	if r.Partition == "aws-cn" && len(r.Issuers) > 0 && r.Audience == DefaultAudience {
		notes = append(notes, "in China some tools register the audience sts.amazonaws.com.cn: the policy must name the one that is registered and mounted")
	}
	if r.Tagged && len(r.Issuers) > 0 {
		notes = append(notes, "the tokens' session tags are allowed by sts:TagSession; the issuer alone decides which tags they are")
	}
	if len(r.EKSClusters) > 0 {
		notes = append(notes, "EKS assumes the role for whatever pods its associations name: they choose the service accounts")
	}
	if r.Target != nil {
		notes = append(notes, "the policy of "+r.Target.SourceRoleARN+" must allow sts:AssumeRole and sts:TagSession on this role")
	}
	return notes
}
