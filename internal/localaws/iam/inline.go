package iam

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

func putInline(k kind, q *service.Call) (any, error) {
	name, text := q.Text("PolicyName", longNameLimit), q.Text("PolicyDocument", documentLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	if _, err := parseDocument(policy.Identity, name, text); err != nil {
		return nil, err
	}
	return nil, k.changePermissions(q, func(_ account.State, one *holder) error {
		documents := slices.DeleteFunc(one.permissions.Policies, func(d account.Document) bool {
			return d.Name == name
		})
		documents = append(documents, account.Document{Name: name, Text: text})
		slices.SortFunc(documents, func(a, b account.Document) int { return strings.Compare(a.Name, b.Name) })
		size := 0
		for _, document := range documents {
			size += policy.Size(document.Text)
		}
		if size > k.inlineQuota {
			return limitExceeded(
				"Maximum policy size of %d bytes exceeded for %s %s", k.inlineQuota, k.lower(), one.name,
			)
		}
		one.permissions.Policies = documents
		return nil
	})
}

// inlineResult names the entity by the member of its kind.
type inlineResult struct {
	UserName       string `xml:",omitempty" json:",omitempty"`
	GroupName      string `xml:",omitempty" json:",omitempty"`
	RoleName       string `xml:",omitempty" json:",omitempty"`
	PolicyName     string
	PolicyDocument string
}

func noInline(k kind, name string) error {
	return noSuchEntity("The %s policy with name %s cannot be found.", k.lower(), name)
}

func getInline(k kind, q *service.Call) (any, error) {
	name := q.Text("PolicyName", longNameLimit)
	one, err := k.read(q)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(one.permissions.Policies, func(d account.Document) bool { return d.Name == name })
	if i < 0 {
		return nil, noInline(k, name)
	}
	result := inlineResult{PolicyName: name, PolicyDocument: escape(one.permissions.Policies[i].Text)}
	switch k.word {
	case "User":
		result.UserName = one.name
	case "Group":
		result.GroupName = one.name
	default:
		result.RoleName = one.name
	}
	return result, nil
}

func deleteInline(k kind, q *service.Call) (any, error) {
	name := q.Text("PolicyName", longNameLimit)
	return nil, k.changePermissions(q, func(_ account.State, one *holder) error {
		before := len(one.permissions.Policies)
		one.permissions.Policies = slices.DeleteFunc(one.permissions.Policies, func(d account.Document) bool {
			return d.Name == name
		})
		if len(one.permissions.Policies) == before {
			return noInline(k, name)
		}
		return nil
	})
}

type inlineNames struct {
	PolicyNames wire.List[string]
	pageEnd
}

func listInline(k kind, q *service.Call) (any, error) {
	one, err := k.read(q)
	if err != nil {
		return nil, err
	}
	onPage, end, err := page(q, one.permissions.Policies, func(d account.Document) string { return d.Name })
	if err != nil {
		return nil, err
	}
	result := inlineNames{pageEnd: end}
	for _, document := range onPage {
		result.PolicyNames = append(result.PolicyNames, document.Name)
	}
	return result, nil
}
