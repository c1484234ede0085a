package localaws

import (
	"encoding/json"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// addEncoded adds to a refusal of EC2 the message that
// sts:DecodeAuthorizationMessage decodes: AWS includes it for EC2's calls that
// change something, and for no call of STS or IAM.
func (a *ask) addEncoded(refused *wire.Error) *wire.Error {
	if a.protocol() != wire.EC2 || strings.HasPrefix(a.Operation, "Describe") || refused.Explanation == nil {
		return refused
	}
	with := *refused
	with.Message = "You are not authorized to perform this operation. " + refused.Message +
		". Encoded authorization failure message: " + encodedMessage(a.Caller, refused.Explanation)
	return &with
}

// maxEncoded is the largest decoded message whose sealed form
// DecodeAuthorizationMessage accepts.
const maxEncoded = 7000

func encodedMessage(who *caller.Caller, e *policy.Explanation) string {
	m := newMessage(e)
	m.Context.Principal.ID = who.Principal.UserID
	text, _ := json.Marshal(m) // texts and booleans only
	if len(text) > maxEncoded {
		m.Matched, m.Context.Conditions = listOf[matchedStatement]{}, listOf[conditionKey]{}
		text, _ = json.Marshal(m)
	}
	return who.Account.SealMessage(text)
}

// message is what DecodeAuthorizationMessage shows, in AWS's form.
type message struct {
	Allowed      bool                     `json:"allowed"`
	ExplicitDeny bool                     `json:"explicitDeny"`
	Matched      listOf[matchedStatement] `json:"matchedStatements"`
	Failures     listOf[string]           `json:"failures"`
	Context      messageContext           `json:"context"`
}

type messageContext struct {
	Principal  messagePrincipal     `json:"principal"`
	Action     string               `json:"action"`
	Resource   string               `json:"resource"`
	Conditions listOf[conditionKey] `json:"conditions"`
}

type messagePrincipal struct {
	ID  string `json:"id"`
	ARN string `json:"arn"`
}

type matchedStatement struct {
	ID        string            `json:"statementId"`
	Effect    string            `json:"effect"`
	Actions   listOf[valueItem] `json:"actions"`
	Resources listOf[valueItem] `json:"resources"`
}

type conditionKey struct {
	Key    string            `json:"key"`
	Values listOf[valueItem] `json:"values"`
}

type valueItem struct {
	Value string `json:"value"`
}

type listOf[T any] struct{ Items []T }

// MarshalJSON writes {"items": […]}, also when there are none.
func (l listOf[T]) MarshalJSON() ([]byte, error) {
	if l.Items == nil {
		l.Items = []T{}
	}
	return json.Marshal(map[string][]T{"items": l.Items})
}

func valuesOf[T any](items []T, text func(T) string) listOf[valueItem] {
	var list listOf[valueItem]
	for _, item := range items {
		list.Items = append(list.Items, valueItem{text(item)})
	}
	return list
}

// newMessage lists only the statements that deny, as AWS does.
func newMessage(e *policy.Explanation) *message {
	m := &message{
		ExplicitDeny: e.Decision == policy.ExplicitDeny.String(),
		Context: messageContext{
			Principal: messagePrincipal{ARN: e.Principal.ARN},
			Action:    e.Action,
			Resource:  e.Resource,
		},
	}
	for _, document := range e.Documents {
		for _, s := range document.Statements {
			if !s.Applies || s.Effect != "Deny" {
				continue
			}
			m.Matched.Items = append(m.Matched.Items, matchedStatement{
				ID: s.Sid, Effect: "DENY",
				Actions:   valuesOf(s.Action.Entries, func(a policy.ExplainedAction) string { return a.Pattern }),
				Resources: valuesOf(s.Resource.Entries, func(r policy.ExplainedResource) string { return r.Pattern }),
			})
		}
	}
	for _, key := range e.Context {
		m.Context.Conditions.Items = append(m.Context.Conditions.Items, conditionKey{
			key.Key,
			valuesOf(key.Values, func(v string) string { return v }),
		})
	}
	return m
}
