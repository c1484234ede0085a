package s3

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

// statement is what matters here about a policy's statement. The engine has
// parsed it before, so it is well formed.
type statement struct {
	Effect                 string
	Principal              json.RawMessage
	NotPrincipal           json.RawMessage
	Resource, NotResource  texts
	Condition              map[string]map[string]texts
	Sid, Action, NotAction json.RawMessage
}

// texts is a string or a list of strings.
type texts []string

// UnmarshalJSON reads either form; numbers and booleans count as strings.
func (t *texts) UnmarshalJSON(data []byte) error {
	var many []json.RawMessage
	if json.Unmarshal(data, &many) != nil {
		many = []json.RawMessage{data}
	}
	for _, one := range many {
		var text string
		if json.Unmarshal(one, &text) != nil {
			text = string(one)
		}
		*t = append(*t, text)
	}
	return nil
}

func statements(document string) []statement {
	var many struct{ Statement []statement }
	if json.Unmarshal([]byte(document), &many) == nil {
		return many.Statement
	}
	var one struct{ Statement statement }
	if json.Unmarshal([]byte(document), &one) != nil {
		return nil
	}
	return []statement{one.Statement}
}

// isPublic is S3's meaning of public: everybody is allowed something, and no
// condition fixes who or from where.
func isPublic(document string) bool {
	for _, one := range statements(document) {
		if one.Effect == "Allow" && (len(one.NotPrincipal) > 0 || isEverybody(one.Principal)) && !one.isFixed() {
			return true
		}
	}
	return false
}

func isEverybody(principal json.RawMessage) bool {
	var text string
	if json.Unmarshal(principal, &text) == nil {
		return text == "*"
	}
	var kinds map[string]texts
	if json.Unmarshal(principal, &kinds) != nil {
		return false
	}
	return slices.Contains(kinds["AWS"], "*")
}

// fixing are the condition keys that make a statement for everybody not public,
// if their values are fixed.
var fixing = map[string]bool{
	"aws:principalaccount":      true,
	"aws:principalarn":          true,
	"aws:principalorgid":        true,
	"aws:principalorgpaths":     true,
	"aws:sourceaccount":         true,
	"aws:sourcearn":             true,
	"aws:sourceip":              true,
	"aws:sourceowner":           true,
	"aws:sourcevpc":             true,
	"aws:sourcevpce":            true,
	"aws:userid":                true,
	"aws:vpcsourceip":           true,
	"s3:dataaccesspointaccount": true,
	"s3:dataaccesspointarn":     true,
	"s3:x-amz-server-side-encryption-aws-kms-key-id": true,
}

func (s *statement) isFixed() bool {
	for operator, keys := range s.Condition {
		operator = strings.ToLower(operator)
		if strings.Contains(operator, "not") || strings.HasSuffix(operator, "ifexists") || operator == "null" ||
			strings.HasPrefix(operator, "forallvalues:") {
			continue
		}
		for key, values := range keys {
			if fixing[arn.FoldKey(key)] && areFixed(values) {
				return true
			}
		}
	}
	return false
}

// areFixed: no wildcards, no variables, no wide networks.
func areFixed(values texts) bool {
	for _, value := range values {
		if strings.ContainsAny(value, "*?") || strings.Contains(value, "${") {
			return false
		}
		if network, err := netip.ParsePrefix(value); err == nil &&
			network.Bits() < map[bool]int{true: 8, false: 32}[network.Addr().Is4()] {
			return false
		}
	}
	return len(values) > 0
}
