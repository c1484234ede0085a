package policy

import (
	"slices"
	"strings"
	"testing"
)

const (
	edgeAccount = "111122223333"
	edgeRole    = "arn:aws:iam::" + edgeAccount + ":role/app"
)

var edgeUser = Principal{
	Kind:     User,
	ARN:      "arn:aws:iam::" + edgeAccount + ":user/a",
	UserName: "a",
	Account:  edgeAccount,
}

func edgePolicy(t *testing.T, kind Kind, statements ...string) *Policy {
	t.Helper()
	text := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	p, err := Parse(kind, "p", []byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func allowing(element string) string { return `{"Effect":"Allow",` + element + `}` }

// TestNearMissesInOrder: what one edit fixes comes before what takes more, and
// another action or condition before another principal.
func TestNearMissesInOrder(t *testing.T) {
	t.Parallel()
	const trusted = `"Principal":{"AWS":"` + edgeRole + `"}`
	const stranger = `"Principal":{"AWS":"arn:aws:iam::111122223333:role/zz"}`
	session := Principal{
		Kind: RoleSession, ARN: "arn:aws:sts::111122223333:assumed-role/app/s", RoleARN: edgeRole, Account: edgeAccount,
	}
	for _, row := range []struct {
		name       string
		request    Request
		kind       Kind
		statements []string
		want       []int // statements
	}{
		{
			"a slip in an action",
			Request{Principal: edgeUser, Action: "s3:GetObject", Resource: "*"},
			Identity,
			[]string{
				allowing(`"Action":"sqs:*","Resource":"*"`), allowing(`"Action":"s3:GetObjct","Resource":"*"`),
			},
			[]int{1, 0},
		},
		{
			"another principal",
			Request{Principal: session, Action: "sts:AssumeRole", Resource: edgeRole},
			Trust,
			[]string{
				allowing(stranger + `,"Action":"sts:AssumeRole"`),
				allowing(trusted + `,"Action":"sts:SetSourceIdentity"`),
			},
			[]int{1, 0},
		},
		{
			"two conditions",
			Request{Principal: edgeUser, Action: "s3:GetObject", Resource: "*"},
			Identity,
			[]string{
				allowing(`"Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"k:first":"1","k:other":"2"}}`),
				allowing(`"Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"k:third":"3"}}`),
			},
			[]int{1, 0},
		},
	} {
		p := edgePolicy(t, row.kind, row.statements...)
		policies := &Policies{Identity: []*Policy{p}}
		if row.kind == Trust {
			policies = &Policies{Trust: p}
		}
		var got []int
		for _, miss := range Explain(&row.request, policies).NearMisses {
			got = append(got, miss.Index)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: statements %v, want %v", row.name, got, row.want)
		}
	}
}

// TestSuggestedWords: a slip is corrected, anything else stays beside what is
// added.
func TestSuggestedWords(t *testing.T) {
	t.Parallel()
	request := Request{Principal: edgeUser, Action: "s3:GetObject", Resource: "*"}
	for actions, want := range map[string]string{
		`"s3:GetObjct"`:              `"s3:GetObject"`,
		`"s3:GetObj"`:                `"s3:GetObject"`,
		`"s3:GetOb"`:                 `["s3:GetOb", "s3:GetObject"]`,
		`["s3:GetObjct"]`:            `"s3:GetObject"`,
		`["s3:GetObjct","s3:List*"]`: `"s3:List*", "s3:GetObject"`,
	} {
		p := edgePolicy(t, Identity, allowing(`"Action":`+actions+`,"Resource":"*"`))
		misses := Explain(&request, &Policies{Identity: []*Policy{p}}).NearMisses
		if len(misses) != 1 || misses[0].Suggested == nil || misses[0].Suggested.New != want {
			t.Errorf("%s: %+v, want %s", actions, misses, want)
		}
	}
	set := &principalSet{entries: []principalEntry{
		{key: "AWS", text: "arn:aws:iam::111122223333:role/ap", at: span{1, 5}},
		{key: "AWS", text: "x", at: span{6, 7}},
	}}
	at, text := set.add(&Policy{text: "{       }"}, "AWS", edgeRole)
	if at != (span{1, 5}) || text != jsonText(edgeRole) {
		t.Errorf("a slip in the first principal: %s at %v", text, at)
	}
}

// TestEveryActionIsListed, also behind the one that matches.
func TestEveryActionIsListed(t *testing.T) {
	t.Parallel()
	p := edgePolicy(t, Identity, allowing(`"Action":["s3:GetObject","s3:Put*"],"Resource":"*"`))
	request := Request{Principal: edgeUser, Action: "s3:GetObject", Resource: "*"}
	got := Explain(&request, &Policies{Identity: []*Policy{p}}).Documents[0].Statements[0].Action.Entries
	if want := []ExplainedAction{{"s3:GetObject", true}, {"s3:Put*", false}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestWhyValuesDiffer: a wildcard that does not act as one, letter case, or nothing worth a note.
func TestWhyValuesDiffer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ condition, value, want string }{
		{`"StringEqualsIgnoreCase":{"k:v":"RED*"}`, "RED-1", "wildcard-without-like"},
		{`"StringEquals":{"k:v":"red*"}`, "red-1", "wildcard-without-like"},
		{`"StringEquals":{"k:v":"red"}`, "Red", "case-only"},
		{`"StringLike":{"k:v":"red*"}`, "Red-1", "case-only"},
		{`"NumericLessThan":{"k:v":"10"}`, "10", ""},
	} {
		p := edgePolicy(t, Identity, allowing(`"Action":"s3:*","Resource":"*","Condition":{`+row.condition+`}`))
		request := Request{
			Principal: edgeUser, Action: "s3:GetObject", Resource: "*", Context: NewContext().Set("k:v", row.value),
		}
		x := &explainer{evaluation: evaluation{request: &request}}
		if got, _ := x.whyNotEqual(&p.statements[0].conditions[0], []string{row.value}); got != row.want {
			t.Errorf("%s, %q: %q, want %q", row.condition, row.value, got, row.want)
		}
	}
}

// TestTrustReasons are those of Allow statements: a Deny that does not apply is no
// reason for a refusal.
func TestTrustReasons(t *testing.T) {
	t.Parallel()
	request := Request{Principal: edgeUser, Action: "sts:AssumeRole", Resource: edgeRole}
	const stranger = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/zz"},` +
		`"Action":"sts:AssumeRole"}`
	trust := edgePolicy(t, Trust, stranger,
		`{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"k:v":"x"}}}`)
	if got := Explain(&request, &Policies{Trust: trust}); got.Reason != Explain(&request,
		&Policies{Trust: edgePolicy(t, Trust, stranger)}).Reason || got.Reason == "trust-condition-failed" {
		t.Errorf("reason %s", got.Reason)
	}
}

// TestSilentDocumentsThatAreNotNeeded are not asked: in one account the caller's own
// policy is enough.
func TestSilentDocumentsThatAreNotNeeded(t *testing.T) {
	t.Parallel()
	policies := &Policies{
		Identity: []*Policy{edgePolicy(t, Identity, allowing(`"Action":"s3:*","Resource":"*"`))},
		Resource: edgePolicy(t, Resource, allowing(`"Principal":{"AWS":"*"},"Action":"s3:Put*","Resource":"*"`)),
	}
	request := Request{
		Principal: edgeUser, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: edgeAccount,
	}
	e := Explain(&request, policies)
	if e.Decision != "Allowed" || slices.ContainsFunc(e.Needed, func(n Need) bool { return n.Source == "resource" }) {
		t.Errorf("%s, needed %+v", e.Decision, e.Needed)
	}
}

// TestPatternsThatMeet: whole ARNs are compared part by part.
func TestPatternsThatMeet(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		pattern, wanted string
		kind            Kind
		want            bool
	}{
		{"*", "arn:aws:s3:::b*", Identity, true},
		{"*", "b*", Identity, true},
		{"arn:aws:s3:::b", "*", Identity, true},
		{"arn:aws:s3:::b", "*:aws:s3:::c", Identity, false},
		{"arn:aws:s3:::b", "b*", Identity, false},
		{"arn:aws:s3:::b", "arn:aws:s3:::*", Identity, true},
		{"arn:aws:s3:::b", "arn:aws:s3:::c*", Identity, false},
		{"arn:aws:s3", "*", RCP, false},
		{"arn:aws:s3", "arn:aws:s3:::*", RCP, false},
	} {
		pattern := compileResource(&node{kind: stringNode, text: row.pattern}, row.kind, true)
		if got := pattern.meets(&Request{}, splitOps(compilePattern(row.wanted, true, false).ops)); got != row.want {
			t.Errorf("%s of %s and %s: %t", row.pattern, row.kind, row.wanted, got)
		}
	}
	// A control policy that allows everything does not allow what the caller's own leaves out.
	policies := &Policies{
		Identity: []*Policy{edgePolicy(t, Identity, allowing(`"Action":"s3:*","NotResource":"arn:aws:s3:::b/x"`))},
		SCP:      [][]*Policy{{edgePolicy(t, SCP, allowing(`"Action":"*","Resource":"*"`))}},
	}
	request := Request{Principal: edgeUser, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}
	if got := Explain(&request, policies).PartlyDenied; len(got) != 1 || got[0].Pattern != "arn:aws:s3:::b/x" {
		t.Errorf("left out: %+v", got)
	}
}

// TestNearestSilentStatement is the one that the summary names, and a resource's
// first different part only where there is one resource.
func TestNearestSilentStatement(t *testing.T) {
	t.Parallel()
	request := Request{Principal: edgeUser, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}
	const far = `"Sid":"far","Action":"sqs:*","Resource":"arn:aws:sqs:::q"`
	const near = `"Sid":"near","Action":"s3:*","Resource":`
	deny := `{"Effect":"Deny","Sid":"deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::c"}`
	for _, row := range []struct {
		name       string
		statements []string
		want, not  string
	}{
		{"the second", []string{allowing(far), allowing(near + `"arn:aws:s3:::c"`)}, `"near"`, `"far"`},
		{"the first", []string{allowing(near + `"arn:aws:s3:::c"`), allowing(far)}, `"near"`, `"far"`},
		{
			"the first of equals",
			[]string{
				allowing(near + `"arn:aws:s3:::c"`),
				allowing(`"Sid":"more","Action":"s3:*","Resource":"arn:aws:s3:::d"`),
			},
			`"near"`, `"more"`,
		},
		{"no Deny", []string{allowing(far), deny}, `"far"`, `"deny"`},
		{"one resource", []string{allowing(near + `"arn:aws:s3:::c"`)}, `wanted "c", got "b/k"`, `"far"`},
		{
			"two resources",
			[]string{allowing(near + `["arn:aws:s3:::c","arn:aws:s3:::d"]`)},
			`"near"`, `wanted "d", got`,
		},
	} {
		e := Explain(&request, &Policies{Identity: []*Policy{edgePolicy(t, Identity, row.statements...)}})
		if got := e.Summary(); !strings.Contains(got, row.want) || strings.Contains(got, row.not) {
			t.Errorf("%s: %s", row.name, got)
		}
	}
}
