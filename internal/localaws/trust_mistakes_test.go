package localaws_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
	trustpolicy "github.com/rolecall/rolecall/internal/trust"
)

// mistake is a row of the table of spec issuer-and-sts §16: a trust policy that
// is wrong, how AWS refuses it or the token, and which finding corrects it.
type mistake struct {
	row  int // 0 for what is not in the table
	name string
	// document is the wrong one, with ' for ".
	document string
	// claims are edits of the good token's; set changes the world first.
	claims edit
	set    func(*world)
	// facts are edits of what lint is told; nil for all that is true of the world.
	facts func(*policy.LintOptions)
	// written is what IAM says when the document is written, empty if it takes it;
	// status, code and message are what STS answers then.
	written string
	status  int
	code    string
	message string
	// rule is the finding. decided says that its edit is one that a person has to
	// decide on.
	rule    string
	decided bool
}

const (
	eksIssuer   = eksHost + "/id/0123456789ABCDEF0123456789ABCDEF"
	eksProvider = "arn:aws:iam::111122223333:oidc-provider/" + eksIssuer
	lastMistake = 47
	denied      = http.StatusForbidden
)

// of is a statement for a provider with conditions, ' for ".
func of(provider, conditions string) string {
	return `{'Effect':'Allow','Principal':{'Federated':'` + provider +
		`'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{` + conditions + `}}`
}

func documentOf(statements ...string) string {
	return `{'Version':'2012-10-17','Statement':[` + strings.Join(statements, ",") + `]}`
}

func mistaken(conditions string) string { return documentOf(of(provider, conditions)) }

const (
	goodAud = `'` + issuerID + `:aud':'sts.amazonaws.com'`
	goodSub = `'` + issuerID + `:sub':'` + subject + `'`
	eksAud  = `'` + eksIssuer + `:aud':'sts.amazonaws.com'`
	eksSub  = `'` + eksIssuer + `:sub':'` + subject + `'`
)

// onEKS registers the provider of an EKS cluster.
func onEKS(w *world) {
	w.mustIAM("CreateOpenIDConnectProvider", "Url", "https://"+eksIssuer, "ClientIDList.member.1", "sts.amazonaws.com")
}

func fromEKS(options *policy.LintOptions) { options.Role.Issuers = []string{eksIssuer} }

func (w *world) mustIAM(action string, pairs ...string) {
	w.t.Helper()
	if a := w.iam(action, pairs...); a.status != ok {
		w.t.Fatalf("%s: %d %s", action, a.status, a.body)
	}
}

var mistakes = []mistake{
	{
		row:  2,
		name: "the provider of the cluster's account",
		document: documentOf(
			of(
				"arn:aws:iam::"+otherAccount+":oidc-provider/other.example/x",
				`'StringEquals':{'other.example/x:aud':'sts.amazonaws.com','other.example/x:sub':'`+subject+`'}`,
			),
		),
		claims: edit{"iss": "https://other.example/x"},
		facts: func(o *policy.LintOptions) {
			o.Role.Issuers = []string{"other.example/x"}
		},
		status:  400,
		code:    iit,
		message: generic,
		rule:    "provider-in-another-account",
	},
	{
		row:      3,
		name:     "another path",
		document: strings.ReplaceAll(mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), "/b/c1", "/b/c2"),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "provider-of-another-issuer",
	},
	{
		row:      3,
		name:     "another case",
		document: strings.ReplaceAll(mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), "/b/c1", "/B/c1"),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "provider-of-another-issuer",
	},
	{
		row:      4,
		name:     "a slash at the end",
		document: strings.ReplaceAll(mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), "/b/c1", "/b/c1/"),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "provider-of-another-issuer",
	},
	{
		row:  5,
		name: "the region before eks",
		document: documentOf(
			of(
				strings.Replace(eksProvider, "eks.eu-west-1", "eu-west-1.eks", 1),
				`'StringEquals':{`+eksAud+`,`+eksSub+`}`,
			),
		),
		set:     onEKS,
		claims:  edit{"iss": "https://" + eksIssuer},
		facts:   fromEKS,
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "provider-slip",
	},
	{
		row:  6,
		name: "no /id/ in the principal",
		document: documentOf(
			of(strings.Replace(eksProvider, "/id/", "/", 1), `'StringEquals':{`+eksAud+`,`+eksSub+`}`),
		),
		set:     onEKS,
		claims:  edit{"iss": "https://" + eksIssuer},
		facts:   fromEKS,
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "provider-slip",
	},
	{
		row:  6,
		name: "no /id/ in a key",
		document: documentOf(
			of(eksProvider, `'StringEquals':{`+eksAud+`,`+strings.Replace(eksSub, "/id/", "/", 1)+`}`),
		),
		set:     onEKS,
		claims:  edit{"iss": "https://" + eksIssuer},
		facts:   fromEKS,
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "key-of-another-issuer",
	},
	{
		row:  7,
		name: "the key of another region's cluster",
		document: documentOf(
			of(eksProvider, `'StringEquals':{`+eksAud+`,`+strings.Replace(eksSub, "eu-west-1", "us-east-1", 1)+`}`),
		),
		set:     onEKS,
		claims:  edit{"iss": "https://" + eksIssuer},
		facts:   fromEKS,
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "key-of-another-issuer",
	},
	{
		row:      8,
		name:     "a scheme in the key",
		document: mistaken(`'StringEquals':{` + goodAud + `,'https://` + issuerID + `:sub':'` + subject + `'}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "scheme-in-key",
	},
	{
		row:      9,
		name:     "a placeholder in a key",
		document: mistaken(`'StringEquals':{` + goodAud + `,'s3.<REGION>.amazonaws.com/b/c1:sub':'` + subject + `'}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "placeholder",
	},
	{
		row:  9,
		name: "placeholders all over",
		document: documentOf(
			of(
				"arn:aws:iam::AWS_ACCOUNT:oidc-provider/s3.REGION.amazonaws.com/"+
					"AWS_ACCOUNT-g8s-CLUSTER_ID-oidc-pod-identity",
				`'StringEquals':{'s3.REGION.amazonaws.com/AWS_ACCOUNT-g8s-CLUSTER_ID-oidc-pod-identity:sub':'system:`+
					`serviceaccount:NAMESPACE:SA_NAME'}`,
			),
		),
		written: "MalformedPolicyDocument",
		rule:    "bad-federated",
	},
	{
		row:  9,
		name: "a placeholder in the provider's path",
		document: documentOf(
			of(
				"arn:aws:iam::111122223333:oidc-provider/s3.eu-west-1.amazonaws.com/b/CLUSTER_ID",
				`'StringEquals':{`+goodAud+`,`+goodSub+`}`,
			),
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "placeholder",
	},
	{
		row:      10,
		name:     "a key outside of an operator",
		document: mistaken(`'StringEquals':{` + goodSub + `},` + goodAud),
		written:  "MalformedPolicyDocument",
		rule:     "bad-structure",
	},
	{
		row:      11,
		name:     "a wildcard in StringEquals",
		document: mistaken(`'StringEquals':{` + goodAud + `,'` + issuerID + `:sub':'system:serviceaccount:app:*'}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "wildcard-without-like",
	},
	{
		row:  12,
		name: "two operators meant as either",
		document: mistaken(
			`'StringEquals':{` + goodAud + `,` + goodSub + `},'StringLike':{'` + issuerID +
				`:sub':'system:serviceaccount:jobs:*'}`,
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "equals-and-like",
	},
	{
		row:  12,
		name: "two operators, without list, the pattern first",
		document: `{'Version':'2012-10-17','Statement':` + strings.Replace(
			of(
				provider,
				`'StringLike':{'`+issuerID+`:sub':['system:serviceaccount:jobs:*']},'StringEquals':{`+goodSub+`,`+
					goodAud+`}`,
			),
			`{'Effect'`, `{'Sid':'S','Effect'`, 1,
		) + `}`,
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "equals-and-like",
	},
	{
		row:      13,
		name:     "namespace and name swapped",
		document: mistaken(`'StringEquals':{` + goodAud + `,'` + issuerID + `:sub':'system:serviceaccount:api:app'}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "subject-of-nobody",
	},
	{
		row:      13,
		name:     "system:serviceaccounts",
		document: mistaken(`'StringEquals':{` + goodAud + `,'` + issuerID + `:sub':'system:serviceaccounts:app:api'}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "subject-slip",
	},
	{
		row:      13,
		name:     "without system",
		document: mistaken(`'StringEquals':{` + goodAud + `,'` + issuerID + `:sub':['serviceaccount:app:api']}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "subject-slip",
	},
	{
		row:      13,
		name:     "a slash, capitals and a blank",
		document: mistaken(`'StringEquals':{` + goodAud + `,'` + issuerID + `:sub':'System:ServiceAccount:app/api '}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "subject-slip",
	},
	{
		row:      13,
		name:     "a name with a letter too many",
		document: mistaken(`'StringEquals':{` + goodAud + `,'` + issuerID + `:sub':'system:serviceaccount:app:apis'}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "subject-of-nobody",
	},
	{
		row:  13,
		name: "another name",
		document: mistaken(
			`'StringEquals':{` + goodAud + `,'` + issuerID + `:sub':'system:serviceaccount:frontend:web'}`,
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "subject-refused",
	},
	{
		row:      14,
		name:     "the pod runs as default",
		document: mistaken(`'StringEquals':{` + goodAud + `,` + goodSub + `}`),
		claims: edit{
			"sub": "system:serviceaccount:app:default",
		},
		facts:   func(o *policy.LintOptions) { o.Role.Subjects = []string{"system:serviceaccount:app:default"} },
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "subject-refused",
		decided: true,
	},
	{
		row:      15,
		name:     "an audience that is not registered",
		document: mistaken(`'StringEquals':{'` + issuerID + `:aud':'vault',` + goodSub + `}`),
		claims:   edit{"aud": []string{"vault"}},
		facts:    func(o *policy.LintOptions) { o.Role.Audience = "vault" },
		status:   400,
		code:     iit,
		message:  generic,
		rule:     "audience-not-registered",
	},
	{
		row:      16,
		name:     "another audience in the policy",
		document: mistaken(`'StringEquals':{'` + issuerID + `:aud':'vault',` + goodSub + `}`),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "aud-mismatch",
	},
	{
		row: 17, name: "kOps", document: mistaken(`'StringEquals':{` + goodAud + `,` + goodSub + `}`),
		set:    func(w *world) { w.register("amazonaws.com") },
		claims: edit{"aud": []string{"amazonaws.com"}}, facts: func(o *policy.LintOptions) {
			o.Role.Audience, o.Role.Registered = "amazonaws.com", []string{"sts.amazonaws.com", "amazonaws.com"}
		},
		status: denied, code: "AccessDenied", message: notAuthed, rule: "aud-mismatch",
	},
	{
		row:      17,
		name:     "a typing error",
		document: mistaken(`'StringEquals':{'` + issuerID + `:aud':'sts.amazon.com',` + goodSub + `}`),
		facts:    func(o *policy.LintOptions) { o.Role = &policy.RoleFacts{} }, // the document alone shows it
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "aud-slip",
	},
	{
		row:      18,
		name:     "sts:AssumeRole",
		document: strings.Replace(mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), "WithWebIdentity", "", 1),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "action-of-another-principal",
	},
	{
		row:  18,
		name: "sts:AssumeRole and sts:TagSession",
		document: strings.Replace(
			mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), `'sts:AssumeRoleWithWebIdentity'`,
			`['sts:TagSession','sts:AssumeRole']`, 1,
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "action-of-another-principal",
	},
	{
		row:  19,
		name: "a service",
		document: strings.Replace(
			mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), `'Federated':'`+provider+`'`,
			`'Service':'pods.eks.amazonaws.com'`, 1,
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "web-identity-principal",
	},
	{
		row:  19,
		name: "AWS *",
		document: strings.Replace(
			mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), `'Federated':'`+provider+`'`, `'AWS':'*'`, 1,
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "web-identity-principal",
	},
	{
		row:      19,
		name:     "the provider as AWS",
		document: strings.Replace(mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), "Federated", "AWS", 1),
		written:  "MalformedPolicyDocument",
		rule:     "web-identity-principal",
	},
	{
		row:  20,
		name: "a Deny by address",
		document: documentOf(
			of(provider, `'StringEquals':{`+goodAud+`,`+goodSub+`}`),
			strings.Replace(of(provider, `'NotIpAddress':{'aws:SourceIp':'203.0.113.0/24'}`), "Allow", "Deny", 1),
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "explicit-deny",
		decided: true,
	},
	{
		row:  20,
		name: "a Deny before the Allow",
		document: documentOf(
			strings.Replace(of(provider, `'StringEquals':{`+goodSub+`}`), "Allow", "Deny", 1),
			of(provider, `'StringEquals':{`+goodAud+`,`+goodSub+`}`),
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "explicit-deny",
		decided: true,
	},
	{
		row:      22,
		name:     "another partition",
		document: strings.Replace(mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), "arn:aws:", "arn:aws-cn:", 1),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "provider-in-another-partition",
	},
	{
		row:      22,
		name:     "another account",
		document: strings.Replace(mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), accountID, otherAccount, 1),
		status:   denied,
		code:     "AccessDenied",
		message:  notAuthed,
		rule:     "provider-in-another-account",
	},
	{
		row:  37,
		name: "Kubernetes' default issuer",
		document: strings.ReplaceAll(
			mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), issuerID, "kubernetes.default.svc.cluster.local",
		),
		status:  denied,
		code:    "AccessDenied",
		message: notAuthed,
		rule:    "provider-of-another-issuer",
	},
	{
		row: 45, name: "too long", document: tooLongByItsSids(), written: "LimitExceeded", rule: "over-quota",
	},
	{
		name: "en dashes",
		document: strings.Replace(
			mistaken(`'StringEquals':{`+goodAud+`,`+goodSub+`}`), "2012-10-17", "2012\u201310\u201317", 1,
		),
		written: "ValidationError", rule: "unusual-character",
	},
	{
		name:     "tags without sts:TagSession",
		document: mistaken(`'StringEquals':{` + goodAud + `,` + goodSub + `}`),
		claims:   principalTags(edit{"team": []string{"red"}}),
		facts:    func(o *policy.LintOptions) { o.Role.Tagged = true },
		status:   denied,
		code:     "AccessDenied",
		message:  "Not authorized to perform sts:TagSession",
		rule:     "token-without-tag-session",
	},
}

// nothingYet stands for what no command finds yet.
const nothingYet = ""

// elsewhere are the rows that no trust policy shows, and which command finds
// them: the page of the reference names the same.
var elsewhere = map[int]string{
	1:  "issuer verify",
	21: nothingYet,
	23: nothingYet,
	24: "issuer verify",
	25: "issuer verify",
	26: "issuer verify",
	27: "issuer verify",
	28: "issuer verify",
	29: "issuer verify",
	30: "issuer verify --token",
	31: "issuer verify --token",
	32: "issuer verify --token",
	33: "issuer verify --token",
	34: "issuer verify --token",
	35: nothingYet,
	36: nothingYet,
	38: "issuer verify",
	39: "issuer verify",
	40: "issuer verify",
	41: "issuer verify",
	42: nothingYet,
	43: nothingYet,
	44: nothingYet,
	46: nothingYet,
	47: "can",
}

// tooLongByItsSids is over the quota, and within it without its Sids.
func tooLongByItsSids() string {
	var statements []string
	for i := range 5 {
		sub := subject
		if i > 0 {
			sub = fmt.Sprintf("system:serviceaccount:app:other-%d", i)
		}
		statement := of(provider, `'StringEquals':{`+goodAud+`,'`+issuerID+`:sub':'`+sub+`'}`)
		statements = append(
			statements,
			strings.Replace(
				statement, "{'Effect'",
				fmt.Sprintf("{'Sid':'%s%d','Effect'", strings.Repeat("TrustsOneMoreServiceAccount", 4), i), 1,
			),
		)
	}
	return documentOf(statements...)
}

func (w *world) register(audience string) {
	w.t.Helper()
	w.mustIAM("AddClientIDToOpenIDConnectProvider", "OpenIDConnectProviderArn", provider, "ClientID", audience)
}

// TestMistakes: each mistake is refused as AWS refuses it; lint finds it; with what
// lint suggests the same token is accepted, and another one is not.
func TestMistakes(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for row := range elsewhere {
		seen[row] = true
	}
	for i := range mistakes {
		m := &mistakes[i]
		seen[m.row] = true
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			m.run(newWorld(t))
		})
	}
	for row := 1; row <= lastMistake; row++ {
		if !seen[row] {
			t.Errorf("row %d of the table is not here", row)
		}
	}
}

func (m *mistake) run(w *world) {
	w.t.Helper()
	if m.set != nil {
		m.set(w)
	}
	document, raw := strings.ReplaceAll(m.document, "'", `"`), w.token(w.key, m.claims)
	if got := w.iam("UpdateAssumeRolePolicy", "RoleName", "R", "PolicyDocument", document); m.written != "" {
		if got.code != m.written {
			w.t.Fatalf("written: %d %s %s, want %s", got.status, got.code, got.message, m.written)
		}
	} else {
		w.expect("written", got, ok, "", "")
		w.expect("before", w.assume(raw, nil), m.status, m.code, m.message)
	}
	options := m.options()
	corrected := m.fix(w, document, options)
	w.expect(
		"corrected: "+corrected, w.iam("UpdateAssumeRolePolicy", "RoleName", "R", "PolicyDocument", corrected),
		ok, "", "",
	)
	w.expect("after: "+corrected, w.assume(raw, nil), ok, "", "")
	hostile := edit{}
	maps.Copy(hostile, m.claims)
	hostile["sub"] = "system:serviceaccount:default:default"
	w.expect("hostile: "+corrected, w.assume(w.token(w.key, hostile), nil), denied, "AccessDenied", "Not authorized")
}

func (m *mistake) options() policy.LintOptions {
	options := policy.LintOptions{Account: accountID, Role: &policy.RoleFacts{
		Partition:  "aws",
		Issuers:    []string{issuerID},
		Audience:   "sts.amazonaws.com",
		Registered: []string{"sts.amazonaws.com"},
		Subjects:   []string{subject},
	}}
	if m.facts != nil {
		m.facts(&options)
	}
	return options
}

// fix applies what lint suggests, and runs the commands that it names.
func (m *mistake) fix(w *world, document string, options policy.LintOptions) string {
	w.t.Helper()
	findings := policy.Lint(policy.Trust, "trust", []byte(document), options)
	i := slices.IndexFunc(findings, func(f finding.Finding) bool {
		return f.Rule == m.rule &&
			f.Severity == finding.Error
	})
	if i < 0 {
		w.t.Fatalf("no %s in %+v", m.rule, findings)
	}
	for _, f := range findings {
		if f.Rule == m.rule && f.Command != "" && f.Rule != "over-quota" {
			w.command(f.Command)
		}
	}
	fixed := trustpolicy.Fix("trust", []byte(document), options)
	if m.decided {
		suggested := findings[i].Suggested
		if fixed.Text != document || suggested == nil || !suggested.Manual {
			w.t.Fatalf("fixed to %s without being asked; suggested %+v", fixed.Text, suggested)
		}
		fixed = trustpolicy.Fix("trust", []byte(suggested.Edit.Apply(document)), options)
	}
	for _, f := range fixed.Left {
		if f.Severity != finding.Warning && f.Rule != "audience-not-registered" {
			w.t.Errorf("left: %+v in %s", f, fixed.Text)
		}
	}
	return fixed.Text
}

// command does what a suggested command of the AWS CLI does.
func (w *world) command(line string) {
	w.t.Helper()
	words := strings.Fields(line)
	value := func(flag string) string { return words[slices.Index(words, flag)+1] }
	switch words[2] {
	case "create-open-id-connect-provider":
		if a := w.iam(
			"CreateOpenIDConnectProvider", "Url", value("--url"), "ClientIDList.member.1", value("--client-id-list"),
		); a.status != ok && a.code != "EntityAlreadyExists" {
			w.t.Fatalf("%s: %s", line, a.body)
		}
	case "add-client-id-to-open-id-connect-provider":
		w.mustIAM(
			"AddClientIDToOpenIDConnectProvider", "OpenIDConnectProviderArn", value("--open-id-connect-provider-arn"),
			"ClientID", value("--client-id"),
		)
	default:
		w.t.Fatalf("unknown command %s", line)
	}
}

// TestMistakesElsewhere: the reference names, for every row, what finds it.
func TestMistakesElsewhere(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/reference/trust-lint.md")
	if err != nil {
		t.Fatal(err)
	}
	for row := 1; row <= lastMistake; row++ {
		prefix := fmt.Sprintf("| %d |", row)
		i := slices.IndexFunc(strings.Split(string(page), "\n"), func(line string) bool {
			return strings.HasPrefix(line, prefix)
		})
		if i < 0 {
			t.Errorf("the page lacks row %d", row)
			continue
		}
		line := strings.Split(string(page), "\n")[i]
		if command := elsewhere[row]; command != "" && !strings.Contains(line, "`"+command+"`") {
			t.Errorf("%q does not name %s", line, command)
		}
		for _, m := range mistakes {
			if m.row == row && !strings.Contains(line, "`"+m.rule+"`") {
				t.Errorf("%q does not name %s", line, m.rule)
			}
		}
	}
}
