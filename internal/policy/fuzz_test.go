package policy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// seedDocuments are the documents of all cases and of the tests here.
func seedDocuments(f *testing.F) {
	f.Helper()
	for _, row := range lintRows {
		f.Add([]byte(strings.ReplaceAll(row.text, "'", `"`)))
	}
	files, err := filepath.Glob("../../test/conformance/policy/[a-l]*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var cases struct {
			Cases []struct{ Policies map[string]json.RawMessage }
		}
		if err := json.Unmarshal(text, &cases); err != nil {
			f.Fatal(err)
		}
		for _, one := range cases.Cases {
			for _, document := range one.Policies {
				f.Add(bytes.Trim(document, "[] \n"))
			}
		}
	}
}

var fuzzRequests = []policy.Request{
	{
		Principal:       alice,
		Action:          "s3:GetObject",
		Resource:        "arn:aws:s3:::bkt/k",
		ResourceAccount: "111122223333",
		Context:         policy.NewContext().Set("x", "a").SetMulti("aws:TagKeys", []string{"team"}),
	},
	{
		Principal: session,
		Action:    "sts:AssumeRole",
		Resource:  roleT,
		Context:   policy.NewContext().Set("sts:ExternalId", "x1"),
	},
	{Principal: oidc, Action: "sts:AssumeRoleWithWebIdentity", Resource: roleT, Context: token("sts.amazonaws.com")},
	{Principal: pods, Action: "sts:TagSession", Resource: roleT},
}

func policiesOf(p *policy.Policy) *policy.Policies {
	list := []*policy.Policy{p}
	switch p.Kind() {
	case policy.Identity:
		return &policy.Policies{Identity: list}
	case policy.Boundary:
		return &policy.Policies{Boundary: p}
	case policy.Session:
		return &policy.Policies{Session: list}
	case policy.Trust:
		return &policy.Policies{Trust: p}
	case policy.Resource:
		return &policy.Policies{Resource: p}
	case policy.SCP:
		return &policy.Policies{SCP: [][]*policy.Policy{list}}
	case policy.RCP:
		return &policy.Policies{RCP: [][]*policy.Policy{list}}
	case policy.Endpoint:
		return &policy.Policies{Endpoint: list}
	}
	return nil
}

// FuzzParse: reading never panics, every refusal has a place, decisions are pure
// and agree with their explanation, lint reports what Parse refuses.
func FuzzParse(f *testing.F) {
	seedDocuments(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		for kind := policy.Identity; kind <= policy.Endpoint; kind++ {
			parsed, err := policy.Parse(kind, "p", text)
			findings := policy.Lint(kind, "p", text, policy.LintOptions{})
			if err != nil {
				refused, ok := errors.AsType[*policy.SyntaxError](err)
				if !ok || refused.Line < 1 || refused.Column < 1 || refused.Message == "" || refused.Detail == "" {
					t.Errorf("%v is no SyntaxError with a place", err)
				}
				if !slices.ContainsFunc(findings, func(f finding.Finding) bool {
					return f.Severity == finding.Error && f.AWS == refused.Message
				}) {
					t.Errorf("%s: lint does not report %v", kind, err)
				}
				continue
			}
			for i := range findings {
				if fix := findings[i].Suggested; fix != nil && fix.Old != string(text[fix.Edit.Start:fix.Edit.End]) {
					t.Errorf("%+v is not about %q", fix, text[fix.Edit.Start:fix.Edit.End])
				}
			}
			for i := range fuzzRequests {
				request, policies := &fuzzRequests[i], policiesOf(parsed)
				first, second := policy.Decide(request, policies), policy.Decide(request, policies)
				explained := policy.Explain(request, policies)
				if first != second || explained.Decision != first.Effect.String() || explained.Summary() == "" {
					t.Errorf("%s: %v, %v, %s", text, first, second, explained.Decision)
				}
			}
		}
	})
}

// plain is a document as encoding/json reads it, for an oracle that shares no
// code with the decoder.
type plain struct {
	Version   *string
	Statement []map[string]any
}

var (
	oracleAction = regexp.MustCompile(`^\s*(\*|[A-Za-z0-9.-]+:[^:]*)\s*$`)
	oracleSid    = regexp.MustCompile(`^[0-9A-Za-z]*$`)
)

// FuzzAccepted: what is accepted as an identity-based policy breaks none of the
// rows of spec iam-policy §1.5.
func FuzzAccepted(f *testing.F) {
	seedDocuments(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := policy.Parse(policy.Identity, "p", text); err != nil {
			return
		}
		var document struct {
			Version   *string
			Statement json.RawMessage
		}
		if err := json.Unmarshal(text, &document); err != nil {
			t.Fatalf("no JSON: %v", err)
		}
		p := plain{Version: document.Version}
		if json.Unmarshal(document.Statement, &p.Statement) != nil {
			p.Statement = make([]map[string]any, 1)
			if err := json.Unmarshal(document.Statement, &p.Statement[0]); err != nil {
				t.Fatalf("spec iam-policy §1.5 row 1: %v", err)
			}
		}
		if broken := p.broken(); broken != "" {
			t.Errorf("accepted, but %s: %s", broken, text)
		}
	})
}

// broken names the first row that the document breaks.
func (p *plain) broken() string {
	if p.Version != nil && *p.Version != "2012-10-17" && *p.Version != "2008-10-17" {
		return "spec iam-policy §1.5 row 1: version"
	}
	if len(p.Statement) == 0 {
		return "spec iam-policy §1.5 row 1: no statement"
	}
	sids := map[string]bool{}
	for _, s := range p.Statement {
		for name := range s {
			if !slices.Contains([]string{
				"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition",
			}, name) {
				return "spec iam-policy §1.5 rows 1, 15: " + name
			}
		}
		sid, _ := s["Sid"].(string)
		if sid != "" && sids[sid] || !oracleSid.MatchString(sid) {
			return "spec iam-policy §1.5 rows 4, 16: Sid"
		}
		sids[sid] = true
		if s["Effect"] != "Allow" && s["Effect"] != "Deny" {
			return "spec iam-policy §1.5 rows 1, 3: Effect"
		}
		if broken := brokenLists(s); broken != "" {
			return broken
		}
	}
	return ""
}

func brokenLists(s map[string]any) string {
	for _, element := range []string{"Action", "Resource"} {
		value, found := s[element]
		other, otherFound := s["Not"+element]
		if found == otherFound {
			return "spec iam-policy §1.5 rows 1, 5, 14: " + element
		}
		if otherFound {
			value = other
		}
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		if len(list) == 0 {
			return "spec iam-policy §1.5 rows 5, 14: no " + element
		}
		for _, item := range list {
			text, isText := item.(string)
			switch {
			case !isText && (item != nil || !isList || element == "Action"):
				return "spec iam-policy §1.5 row 1: type of " + element
			case !isText:
			case element == "Action" && !oracleAction.MatchString(text):
				return "spec iam-policy §1.5 rows 11 to 13: " + text
			case element == "Resource" && text != "*" && !strings.HasPrefix(text, "arn:") &&
				!strings.HasPrefix(text, "${"):
				return "spec iam-policy §1.5 row 6: " + text
			}
		}
	}
	return ""
}

// FuzzFormat: formatting is stable and changes no meaning.
func FuzzFormat(f *testing.F) {
	seedDocuments(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		once, err := policy.Format("p", text)
		if err != nil {
			return
		}
		twice, err := policy.Format("p", once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("not stable: %v\n%s\n%s", err, once, twice)
		}
		for _, kind := range []policy.Kind{policy.Identity, policy.Trust} {
			before, errBefore := policy.Parse(kind, "p", text)
			after, errAfter := policy.Parse(kind, "p", once)
			if (errBefore == nil) != (errAfter == nil) {
				t.Fatalf("%v became %v:\n%s", errBefore, errAfter, once)
			}
			if errBefore == nil {
				sameDecisions(t, before, after)
			}
		}
	})
}

// FuzzOrder: the order of statements decides nothing.
func FuzzOrder(f *testing.F) {
	seedDocuments(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		var document map[string]json.RawMessage
		var statements []json.RawMessage
		if json.Unmarshal(text, &document) != nil || json.Unmarshal(document["Statement"], &statements) != nil {
			return
		}
		slices.Reverse(statements)
		document["Statement"], _ = json.Marshal(statements)
		reversed, err := json.Marshal(document)
		if err != nil {
			return
		}
		for _, kind := range []policy.Kind{policy.Identity, policy.Trust, policy.Resource} {
			one, err := policy.Parse(kind, "p", text)
			if err != nil {
				continue
			}
			other, err := policy.Parse(kind, "p", reversed)
			if err != nil {
				t.Fatalf("reversed: %v\n%s", err, reversed)
			}
			sameDecisions(t, one, other)
		}
	})
}

func sameDecisions(t *testing.T, one, other *policy.Policy) {
	t.Helper()
	for i := range fuzzRequests {
		if a, b := policy.Decide(&fuzzRequests[i],
			policiesOf(one)), policy.Decide(&fuzzRequests[i], policiesOf(other)); a != b {
			t.Errorf("%v and %v for\n%s\n%s", a, b, one.Text(), other.Text())
		}
	}
}
