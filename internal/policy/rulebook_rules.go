package policy

import (
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/finding"
)

// What is known of the role in an example, and the flags that say so.
type exampleFacts int

const (
	knowsNothing exampleFacts = iota
	knowsAccount
	knowsAll
	knowsTagged
	knowsOther
	knowsRegistered
	knowsChina
	knowsSource
)

const exampleAccount = "111122223333"

// options are the facts for lint.
func (f exampleFacts) options() LintOptions {
	all := RoleFacts{
		Partition: "aws", Issuers: []string{"h.example/p"}, Audience: "sts.amazonaws.com",
		Registered: []string{"sts.amazonaws.com"}, Subjects: []string{"system:serviceaccount:a:b"},
		Clusters: []string{"arn:aws:eks:eu-west-1:111122223333:cluster/prod"},
	}
	switch f {
	case knowsNothing:
		return LintOptions{}
	case knowsAccount:
		return LintOptions{Account: exampleAccount}
	case knowsAll:
	case knowsTagged:
		all.Clusters, all.Tagged = nil, true
	case knowsOther:
		all = RoleFacts{Issuers: all.Issuers, Audience: "x", Registered: all.Registered}
	case knowsRegistered:
		all = RoleFacts{Issuers: all.Issuers, Registered: []string{"y"}}
	case knowsChina:
		all = RoleFacts{Partition: "aws-cn"}
	case knowsSource:
		all = RoleFacts{Sources: []string{"arn:aws:iam::111122223333:role/pod"}}
	}
	return LintOptions{Account: exampleAccount, Role: &all}
}

// flags are how a command is told the same.
func (f exampleFacts) flags() string {
	const account, issuer = "--account 111122223333", " --issuer https://h.example/p"
	registered := issuer + " --registered-audience sts.amazonaws.com"
	workload := registered + " --audience sts.amazonaws.com --service-account a/b"
	return [...]string{
		"", account, account + workload + " --cluster-arn arn:aws:eks:eu-west-1:111122223333:cluster/prod",
		account + workload + " --tagged", account + registered + " --audience x",
		account + issuer + " --registered-audience y", account + " --partition aws-cn",
		account + " --source-role-arn arn:aws:iam::111122223333:role/pod",
	}[f]
}

// Examples that are too long to be written down.
func tooLongExample() string { return strings.Repeat(" ", maxParameter) + "{}" }

func ofSize(size int) string {
	const head, tail = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/`,
		`"}]}`
	return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
}

func nearQuotaExample() string { return ofSize(2000) }

func overQuotaExample() string { return ofSize(2100) }

func tooComplexExample() string {
	var statements []string
	for range 12 {
		var keys []string
		for i := range 12 {
			one := string(rune('a' + i))
			keys = append(keys, `"aws:RequestTag/`+one+`":["`+one+`*","*`+one+`","?`+one+`*"]`)
		}
		statements = append(statements, `{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole",`+
			`"Condition":{"StringLike":{`+strings.Join(keys, ",")+`},"StringNotLike":{`+strings.Join(keys, ",")+`}}}`)
	}
	allow := strings.Replace(statements[0], "Deny", "Allow", 1)
	allow = strings.Replace(allow, "StringNotLike", "StringEquals", 1)
	return `{"Version":"2012-10-17","Statement":[` + allow + `,` + strings.Join(statements, ",") + `]}`
}

// ruleBook is every rule of lint, in the order of its codes. A code is never used for
// another rule.
var ruleBook = sync.OnceValue(func() []Rule {
	return []Rule{
		{
			Code: "RC1001", Name: "too-long", Severity: finding.Error, Kind: Identity,
			Meaning: "The document is longer than a call may carry, 131,072 characters.",
			Fix:     "Split it, or leave out what repeats.",
			make:    tooLongExample,
		},
		{
			Code: "RC1002", Name: "unusual-character", Severity: finding.Error, Kind: Identity,
			Meaning: "It has a dash, quote or space from a web page, or a character outside U+0020 to U+00FF.",
			Fix:     "Type the plain character.",
			Example: `{'Version':'2012–10–17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*'}]}`,
		},
		{
			Code: "RC1003", Name: "not-json", Severity: finding.Error, Kind: Identity,
			Meaning: "It is not JSON.",
			Fix:     "Fix the syntax at the place that is given.",
			Example: `{'Version':'2012-10-17',`,
		},
		{
			Code: "RC1004", Name: "bad-structure", Severity: finding.Error, Kind: Identity,
			Meaning: "An element is unknown, misspelt, repeated or of a wrong type, both of an X and NotX pair " +
				"are there, an operator is unknown, or a condition key stands where an operator belongs.",
			Fix: "Write the element as the grammar of policies has it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'a:sub':'x'}}]}`,
		},
		{
			Code: "RC1005", Name: "bad-version", Severity: finding.Error, Kind: Identity,
			Meaning: "Version is neither 2012-10-17 nor 2008-10-17.",
			Fix:     `Write "2012-10-17".`,
			Example: `{'Version':'2020-01-01','Statement':[{'Effect':'Allow','Action':'s3:GetObject','Resource':'arn:` +
				`aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC1006", Name: "old-version", Severity: finding.Warning, Kind: Identity,
			Meaning: "Version 2008-10-17 has no variables; a managed policy with it is refused.",
			Fix:     `Write "2012-10-17".`,
			Example: `{'Version':'2008-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObject','Resource':'arn:` +
				`aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC1007", Name: "no-statement", Severity: finding.Error, Kind: Identity,
			Meaning: "There is no Statement, or it is an empty list.",
			Fix:     "Add a statement.",
			Example: `{'Version':'2012-10-17','Statement':[]}`,
		},
		{
			Code: "RC1008", Name: "no-effect", Severity: finding.Error, Kind: Identity,
			Meaning: "A statement has no Effect.",
			Fix:     `Add "Effect": "Allow" or "Deny".`,
			Example: `{'Version':'2012-10-17','Statement':[{'Action':'s3:GetObject','Resource':'arn:aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC1009", Name: "bad-effect", Severity: finding.Error, Kind: Identity,
			Meaning: "Effect is neither Allow nor Deny.",
			Fix:     `Write "Allow" or "Deny".`,
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Permit','Action':'s3:GetObject','Resource':'arn` +
				`:aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC1010", Name: "effect-case", Severity: finding.Error, Kind: Identity,
			Meaning: "Effect is in other letters than Allow and Deny.",
			Fix:     `Write "Allow" or "Deny".`,
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'allow','Action':'s3:GetObject','Resource':'arn:` +
				`aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC1011", Name: "bad-value", Severity: finding.Error, Kind: Session,
			Meaning: "A number, date, address, ARN or base64 text has the wrong form. Session policies accept " +
				"it silently.",
			Fix: "Write the value in the form of the operator.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'NumericEquals':{'a':'x'},'ArnLike':{'b':'x'},'IpAddress':{'c':'2001:db8::5/64'},'DateEqual` +
				`s':{'d':'x'}}}]}`,
		},
		{
			Code: "RC1012", Name: "legacy-arn", Severity: finding.Error, Kind: Identity,
			Meaning: "An ARN has :: and too few parts, or no service.",
			Fix:     "Write all six parts of the ARN.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObject','Resource':'arn:` +
				`aws::b'}]}`,
		},
		{
			Code: "RC1013", Name: "repeated-sid", Severity: finding.Error, Kind: Identity,
			Meaning: "Two statements have the same Sid.",
			Fix:     "Give each statement its own Sid, or none.",
			Example: `{'Version':'2012-10-17','Statement':[{'Sid':'a','Effect':'Allow','Action':'s3:GetObject','Resou` +
				`rce':'arn:aws:s3:::b/*'},{'Sid':'a','Effect':'Deny','Action':'s3:GetObject','Resource':'arn:aws` +
				`:s3:::b/*'}]}`,
		},
		{
			Code: "RC1014", Name: "bad-sid", Severity: finding.Error, Kind: Identity,
			Meaning: "A Sid has other characters than letters and digits.",
			Fix:     "Leave them out.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Sid':'Read only','Action':'s3:GetObject` +
				`','Resource':'arn:aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC1015", Name: "no-action", Severity: finding.Error, Kind: Identity,
			Meaning: "A statement has no Action.",
			Fix:     "Name the actions.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Resource':'*'}]}`,
		},
		{
			Code: "RC1016", Name: "action-without-service", Severity: finding.Error, Kind: Identity,
			Meaning: "An action is not SERVICE:NAME.",
			Fix:     "Write the service's prefix before it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'allow','Action':'s3','Resource':'b'}]}`,
		},
		{
			Code: "RC1017", Name: "action-two-colons", Severity: finding.Error, Kind: Identity,
			Meaning: "An action has two colons.",
			Fix:     "Write SERVICE:NAME.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:Get:Object','Resource':'*'}` +
				`]}`,
		},
		{
			Code: "RC1018", Name: "action-bad-service", Severity: finding.Error, Kind: Resource,
			Meaning: "What is before an action's colon is not the prefix of a service.",
			Fix:     "Write the prefix in full; wildcards stand after the colon.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'111122223333'},'Acti` +
				`on':'s*:Get*','Resource':'*'}]}`,
		},
		{
			Code: "RC1019", Name: "action-not-sts", Severity: finding.Error, Kind: Trust,
			Meaning: "A trust policy names an action outside of sts:.",
			Fix:     "Name sts:AssumeRole or one of its kind; what the role may do is in its own policies.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'111122223333'},'Acti` +
				`on':'s3:GetObject'}]}`,
		},
		{
			Code: "RC1020", Name: "no-resource", Severity: finding.Error, Kind: Identity,
			Meaning: "A statement has no Resource.",
			Fix:     "Name the resources.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObject'}]}`,
		},
		{
			Code: "RC1021", Name: "resource-not-arn", Severity: finding.Error, Kind: Identity,
			Meaning: `A resource is neither an ARN nor "*".`,
			Fix:     "Write its ARN.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObject','Resource':'b'}]` +
				`}`,
		},
		{
			Code: "RC1022", Name: "resource-partition", Severity: finding.Error, Kind: Identity,
			Meaning: "The partition of a resource's ARN is not one of AWS's.",
			Fix:     "Write aws, aws-cn or aws-us-gov.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObject','Resource':'arn:` +
				`amazon:s3:::b/*'}]}`,
		},
		{
			Code: "RC1023", Name: "resource-service", Severity: finding.Error, Kind: Identity,
			Meaning: "A resource's ARN ends before its service.",
			Fix:     "Write the service in full.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObject','Resource':'arn:aws'}]}`,
		},
		{
			Code: "RC1024", Name: "resource-region", Severity: finding.Error, Kind: Identity,
			Meaning: "The ARN of an IAM or S3 resource names a region.",
			Fix:     "Leave the region empty.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'iam:GetRole','Resource':'arn:a` +
				`ws:iam:eu-west-1:111122223333:role/app'}]}`,
		},
		{
			Code: "RC1025", Name: "resource-path", Severity: finding.Error, Kind: Identity,
			Meaning: "The ARN of an IAM resource does not begin with a kind of resource.",
			Fix:     "Write user/, role/, policy/ and the like.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'iam:GetRole','Resource':'arn:a` +
				`ws:iam::111122223333:app'}]}`,
		},
		{
			Code: "RC1026", Name: "has-principal", Severity: finding.Error, Kind: Identity,
			Meaning: "This kind of policy has no Principal.",
			Fix:     "Leave it out: the policy applies to its holder.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'111122223333'},'Acti` +
				`on':'s3:GetObject','Resource':'arn:aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC1027", Name: "has-resource", Severity: finding.Error, Kind: Trust,
			Meaning: "A trust policy has no Resource.",
			Fix:     "Leave it out: it is about its role.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'111122223333'},'Acti` +
				`on':'sts:AssumeRole','Resource':'*'}]}`,
		},
		{
			Code: "RC1028", Name: "no-principal", Severity: finding.Error, Kind: Trust,
			Meaning: "A statement names no Principal; in a resource's policy, where it is a warning, it " +
				"matches nobody.",
			Fix:     "Add the Principal.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'sts:AssumeRole'}]}`,
		},
		{
			Code: "RC1029", Name: "empty-principal", Severity: finding.Error, Kind: Trust,
			Meaning: "Principal is empty.",
			Fix:     "Name somebody.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{},'Action':'sts:AssumeRole'` +
				`}]}`,
		},
		{
			Code: "RC1030", Name: "star-principal", Severity: finding.Error, Kind: Trust,
			Meaning: `A trust policy has Principal "*".`,
			Fix:     `Write {"AWS": "*"}, with a condition that says who.`,
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':'*','Action':'sts:AssumeRole` +
				`'}]}`,
		},
		{
			Code: "RC1031", Name: "principal-no-object", Severity: finding.Error, Kind: Trust,
			Meaning: "Principal is not an object.",
			Fix:     `Write {"AWS": "…"}, {"Service": "…"} or {"Federated": "…"}.`,
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':'111122223333','Action':'sts` +
				`:AssumeRole'}]}`,
		},
		{
			Code: "RC1032", Name: "principal-empty-list", Severity: finding.Error, Kind: Trust,
			Meaning: "A list in Principal is empty.",
			Fix:     "Name somebody.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':[]},'Action':'sts:Ass` +
				`umeRole'}]}`,
		},
		{
			Code: "RC1033", Name: "bad-principal", Severity: finding.Error, Kind: Trust,
			Meaning: "A principal names no user, role, session, account or service.",
			Fix:     "Write its ARN in full.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::1111222` +
				`23333:role/*'},'Action':'sts:AssumeRole'}]}`,
		},
		{
			Code: "RC1034", Name: "bad-federated", Severity: finding.Error, Kind: Trust,
			Meaning: "A Federated principal is not the ARN of a provider.",
			Fix:     "Write arn:aws:iam::ACCOUNT:oidc-provider/HOST/PATH.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::A` +
				`WS_ACCOUNT:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'S` +
				`tringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC1035", Name: "allow-not-principal", Severity: finding.Error, Kind: Resource,
			Meaning: "Allow with NotPrincipal admits everybody else.",
			Fix:     "Name who is allowed in Principal.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','NotPrincipal':{'AWS':'111122223333'},'A` +
				`ction':'s3:*','Resource':'*'}]}`,
		},
		{
			Code: "RC1036", Name: "no-cognito-audience", Severity: finding.Error, Kind: Trust,
			Meaning: "Cognito is trusted without a condition on the user pool.",
			Fix:     "Compare cognito-identity.amazonaws.com:aud.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'cognito-identi` +
				`ty.amazonaws.com'},'Action':'sts:AssumeRoleWithWebIdentity'}]}`,
		},
		{
			Code: "RC1037", Name: "shared-issuer", Severity: finding.Error, Kind: Trust,
			Meaning: "An issuer of many tenants is trusted without a condition on yours.",
			Fix:     "Compare the claim that says whose token it is.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/token.actions.githubusercontent.com'},'Action':'sts:AssumeRoleWithWeb` +
				`Identity','Condition':{'StringEquals':{'token.actions.githubusercontent.com:aud':'sts.amazonaws` +
				`.com'}}}]}`,
		},
		{
			Code: "RC1038", Name: "control-policy-grammar", Severity: finding.Error, Kind: RCP,
			Meaning: "A service or resource control policy has what it may not contain.",
			Fix:     "Write it as that kind of policy allows.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':'*','Action':'s3:*','Resourc` +
				`e':'*'}]}`,
		},
		{
			Code: "RC1039", Name: "over-quota", Severity: finding.Error, Kind: Session,
			Meaning: "It is longer than AWS stores; a warning where the quota can be raised.",
			Fix:     "Leave out Sids, merge statements, or ask for a larger quota.",
			make:    overQuotaExample,
		},
		{
			Code: "RC2001", Name: "trust-anybody", Severity: finding.Security, Kind: Trust,
			Meaning: "Callers of AWS accounts that the document does not name may assume the role.",
			Fix:     "Compare aws:PrincipalOrgID, aws:PrincipalArn or aws:PrincipalAccount with a fixed text.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:As` +
				`sumeRole','Condition':{'StringLike':{'aws:PrincipalArn':'*'}}}]}`,
		},
		{
			Code: "RC2002", Name: "trust-anybody-who-knows", Severity: finding.Warning, Kind: Trust,
			Meaning: "Every AWS account may assume the role that knows a fixed external id or calls from an " +
				"address. Neither is a secret.",
			Fix: "Name the accounts, or compare aws:PrincipalOrgID.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:As` +
				`sumeRole','Condition':{'StringEquals':{'sts:ExternalId':'12345'}}}]}`,
		},
		{
			Code: "RC2003", Name: "third-party-without-external-id", Severity: finding.Security, Kind: Trust, facts: knowsAccount,
			Meaning: "Another account may assume the role without sts:ExternalId, so that its other customers " +
				"can use its access.",
			Fix: "Compare sts:ExternalId.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'444455556666'},'Acti` +
				`on':'sts:AssumeRole'}]}`,
		},
		{
			Code: "RC2004", Name: "service-without-source", Severity: finding.Security, Kind: Trust,
			Meaning: "A service may act for the resources of accounts that the document does not name. EC2 is " +
				"left out: it says nothing of its source.",
			Fix: "Compare aws:SourceArn or aws:SourceAccount.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Service':'pods.eks.amazona` +
				`ws.com'},'Action':'sts:AssumeRole','Condition':{'StringEqualsIfExists':{'aws:SourceAccount':'11` +
				`1122223333'}}}]}`,
		},
		{
			Code: "RC2005", Name: "web-identity-without-sub", Severity: finding.Security, Kind: Trust,
			Meaning: "Workloads of the issuer that the document does not name may assume the role.",
			Fix:     "Compare the token's sub with StringEquals.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p:aud':'sts.amazonaws.com'}}}]}`,
		},
		{
			Code: "RC2006", Name: "sub-any-namespace", Severity: finding.Security, Kind: Trust,
			Meaning: "The subject's pattern covers every namespace.",
			Fix:     "Name the namespace.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringLike':{'h.example/p:sub':'system:serviceaccount:*:b'}}}]}`,
		},
		{
			Code: "RC2007", Name: "sub-several-namespaces", Severity: finding.Security, Kind: Trust,
			Meaning: "The subject's pattern covers several namespaces, also those that others make.",
			Fix:     "Name the namespace.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringLike':{'h.example/p:sub':'system:serviceaccount:team-*:b'}}}]}`,
		},
		{
			Code: "RC2008", Name: "sub-shared-namespace", Severity: finding.Security, Kind: Trust,
			Meaning: "The subject's pattern covers accounts of a namespace that many share.",
			Fix:     "Name the service account.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringLike':{'h.example/p:sub':'system:serviceaccount:default:*'}}}]}`,
		},
		{
			Code: "RC2009", Name: "shared-issuer-stranger", Severity: finding.Security, Kind: Trust,
			Meaning: "Tokens of other tenants of a shared issuer may assume the role.",
			Fix:     "Name whose repository, project or organization it is, to its end.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/token.actions.githubusercontent.com'},'Action':'sts:AssumeRoleWithWeb` +
				`Identity','Condition':{'StringLike':{'token.actions.githubusercontent.com:sub':'repo:*'}}}]}`,
		},
		{
			Code: "RC2010", Name: "if-exists-on-claim", Severity: finding.Security, Kind: Trust,
			Meaning: "IfExists on sub or aud also holds without the claim.",
			Fix:     "Compare without IfExists.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEqualsIfExists':{'h.example/p:sub':'system:serviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC2011", Name: "for-all-values-single", Severity: finding.Security, Kind: Trust,
			Meaning: "ForAllValues on a key with one value also holds when the key is missing.",
			Fix:     "Compare without the set prefix.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`ForAllValues:StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC2012", Name: "for-all-values-missing", Severity: finding.Security, Kind: Identity,
			Meaning: "ForAllValues in an Allow also holds when the key is missing.",
			Fix:     `Add Null … "false".`,
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'ForAllValues:StringEquals':{'aws:TagKeys':'a'}}}]}`,
		},
		{
			Code: "RC2013", Name: "aud-wildcard", Severity: finding.Security, Kind: Trust,
			Meaning: "The audience is a pattern, which covers audiences that are not meant for STS.",
			Fix:     "Name the audience.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringLike':{'h.example/p:aud':'sts.*'}}}]}`,
		},
		{
			Code: "RC2014", Name: "web-identity-without-aud", Severity: finding.Warning, Kind: Trust,
			Meaning: "Nothing is said of the audience: every one that the provider registers is accepted.",
			Fix:     "Compare the token's aud with StringEquals.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity'}]}`,
		},
		{
			Code: "RC2015", Name: "too-complex", Severity: finding.Warning, Kind: Trust,
			Meaning: "So many conditions that whom they let in is not found out.",
			Fix:     "Name fewer callers, or write several statements.",
			make:    tooComplexExample,
		},
		{
			Code: "RC2016", Name: "saml-without-audience", Severity: finding.Security, Kind: Trust,
			Meaning: "A user's assertion that the SAML provider made for another service than AWS is accepted, if that " +
				"service passes it on. A warning if the service's address must be made up to look like AWS's.",
			Fix: "Require SAML:aud to be https://signin.aws.amazon.com/saml, or a region's, with StringEquals.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:saml-provider/p'},'Action':'sts:AssumeRoleWithSAML'}]}`,
		},
		{
			Code: "RC2017", Name: "cognito-guests", Severity: finding.Security, Kind: Trust,
			Meaning: "Guests of the Cognito identity pool may assume the role: nobody asks them for a login.",
			Fix:     "Require amr to be authenticated with ForAnyValue:StringLike; or unauthenticated, if guests are meant.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'cognito-identity` +
				`.amazonaws.com'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'StringEquals':{'cognito-identit` +
				`y.amazonaws.com:aud':'eu-west-1:11111111-2222-3333-4444-555555555555'}}}]}`,
		},
		{
			Code: "RC3001", Name: "admits-nobody", Severity: finding.Error, Kind: Trust,
			Meaning: "The policy engine lets nobody in by this statement.",
			Fix:     "Fix the condition that is named, or remove the statement.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'},'StringNotEquals':{'h.example/p:s` +
				`ub':'system:serviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC3002", Name: "provider-slip", Severity: finding.Error, Kind: Trust,
			Meaning: "No provider has such a name: the region before eks, /id/ missing, https://.",
			Fix:     "Write the issuer as the cluster does, without https://.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/A1.gr7.eu-west-1.eks.amazonaws.com'},'Action':'sts:AssumeRoleWithWebI` +
				`dentity','Condition':{'StringEquals':{'A1.gr7.eu-west-1.eks.amazonaws.com:sub':'system:servicea` +
				`ccount:a:b'}}}]}`,
		},
		{
			Code: "RC3003", Name: "provider-of-another-issuer", Severity: finding.Error, Kind: Trust, facts: knowsAll,
			Meaning: "No token comes from the provider's issuer; near misses are named.",
			Fix:     "Name the tokens' issuer.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/oidc.example/q'},'Action':'sts:AssumeRoleWithWebIde` +
				`ntity','Condition':{'StringEquals':{'oidc.example/q:sub':'system:serviceaccou` +
				`nt:a:b'}}}]}`,
		},
		{
			Code: "RC3004", Name: "provider-in-another-account", Severity: finding.Error, Kind: Trust, facts: knowsAccount,
			Meaning: "The provider is in another account than the role, where STS does not look.",
			Fix:     "Make the provider in the role's account, and name it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::4` +
				`44455556666:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p:aud':'sts.amazonaws.com','h.example/p:sub':'system:serviceaccount:a` +
				`:b'}}}]}`,
		},
		{
			Code: "RC3005", Name: "provider-in-another-partition", Severity: finding.Error, Kind: Trust, facts: knowsChina,
			Meaning: "The provider is in another partition than the role.",
			Fix:     "Name the role's partition.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity'}]}`,
		},
		{
			Code: "RC3006", Name: "issuer-not-public", Severity: finding.Error, Kind: Trust,
			Meaning: "The provider is that of Kubernetes' default issuer, which AWS cannot reach.",
			Fix:     "Give the cluster a public issuer: rolecall issuer init.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/kubernetes.default.svc.cluster.local'},'Action':'sts:AssumeRoleWithWe` +
				`bIdentity','Condition':{'StringEquals':{'kubernetes.default.svc.cluster.local:aud':'sts.amazona` +
				`ws.com','kubernetes.default.svc.cluster.local:sub':'system:serviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC3007", Name: "key-slip", Severity: finding.Error, Kind: Trust,
			Meaning: "A condition key is almost ISSUER:CLAIM: it has the provider's ARN for the issuer, " +
				"another separator, or no issuer.",
			Fix: "Write ISSUER:sub.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p/sub':'system:serviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC3008", Name: "scheme-in-key", Severity: finding.Error, Kind: Trust,
			Meaning: "A condition key names the issuer with https://.",
			Fix:     "Leave the scheme out.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/oidc.eks.<REGION>.amazonaws.com/id/A1'},'Action':'sts:AssumeRoleWithW` +
				`ebIdentity','Condition':{'StringEquals':{'https://oidc.eks.REGION.amazonaws.com/id/A1:sub':'sys` +
				`tem:serviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC3009", Name: "key-of-another-issuer", Severity: finding.Error, Kind: Trust,
			Meaning: "A claim's key names no provider of the statement.",
			Fix:     "Name the statement's provider in the key.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/oidc.<REGION>.eks.amazonaws.com/id/A1'},'Action':'sts:AssumeRoleWithW` +
				`ebIdentity','Condition':{'StringEquals':{'oidc.eks.eu-west-1.amazonaws.com/id/A1:sub':'system:s` +
				`erviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC3010", Name: "impossible-key", Severity: finding.Error, Kind: Trust,
			Meaning: "Such a call never has the condition key; a warning where the condition holds without it.",
			Fix:     "Compare a key that the call has.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::1111222` +
				`23333:role/a'},'Action':'sts:AssumeRole','Condition':{'NumericLessThan':{'sts:DurationSeconds':` +
				`'3600'}}}]}`,
		},
		{
			Code: "RC3011", Name: "action-of-another-principal", Severity: finding.Error, Kind: Trust,
			Meaning: "This kind of principal does not call the action.",
			Fix:     "Allow the action that it calls.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::1111222` +
				`23333:role/a'},'Action':'sts:AssumeRoleWithWebIdentity'}]}`,
		},
		{
			Code: "RC3012", Name: "web-identity-principal", Severity: finding.Error, Kind: Trust,
			Meaning: "A statement for tokens has a principal that is not Federated.",
			Fix:     "Name the provider as Federated.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Service':'eks.amazonaws.co` +
				`m'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'StringEquals':{'h.example/p:aud':'st` +
				`s.amazonaws.com','h.example/p:sub':'system:serviceaccount:a:b'}}}]}`,
		},
		{
			Code: "RC3013", Name: "equals-and-like", Severity: finding.Error, Kind: Trust,
			Meaning: "An equality and a pattern on one key must both hold; a warning if somebody meets both.",
			Fix:     "Write two statements if either is meant.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{` +
				`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'},` +
				`'StringLike':{'h.example/p:sub':'system:serviceaccount:c:*'}}}]}`,
		},
		{
			Code: "RC3014", Name: "subject-slip", Severity: finding.Error, Kind: Trust,
			Meaning: "No token has such a subject: it is almost system:serviceaccount:NAMESPACE:NAME, or has " +
				"capitals.",
			Fix: "Write system:serviceaccount:NAMESPACE:NAME in lower case.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p:aud':'sts.amazonaws.com','h.example/p:sub':'sts.amazonaws.com'}}}]}`,
		},
		{
			Code: "RC3015", Name: "subject-as-audience", Severity: finding.Error, Kind: Trust,
			Meaning: "A subject stands where the audience belongs.",
			Fix:     "Compare it with ISSUER:sub.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p:aud':'system:serviceaccount:shop:cart'}}}]}`,
		},
		{
			Code: "RC3016", Name: "subject-of-nobody", Severity: finding.Error, Kind: Trust, facts: knowsAll,
			Meaning: "A subject is a slip for a service account that must be let in.",
			Fix:     "Name the service account.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringLike':{'h.example/p:sub':'system:serviceaccount::app'}}}]}`,
		},
		{
			Code: "RC3017", Name: "subject-refused", Severity: finding.Error, Kind: Trust, facts: knowsAll,
			Meaning: "A service account that must be let in is not; the policy engine says why.",
			Fix:     "Make the edit, or add a statement: rolecall trust generate --merge FILE.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:As` +
				`sumeRole'}]}`,
		},
		{
			Code: "RC3018", Name: "cluster-refused", Severity: finding.Error, Kind: Trust, facts: knowsAll,
			Meaning: "Pods of an EKS cluster that must be let in by Pod Identity are not; the policy engine " +
				"says why.",
			Fix: "Name the cluster in aws:SourceArn, for pods.eks.amazonaws.com.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:As` +
				`sumeRole'}]}`,
		},
		{
			Code: "RC3019", Name: "explicit-deny", Severity: finding.Error, Kind: Trust, facts: knowsAll,
			Meaning: "A Deny keeps a service account out that must be let in.",
			Fix:     "Remove the Deny, or except the service account from it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p:aud':'sts.amazonaws.com','h.example/p:sub':'system:serviceaccount:a` +
				`:b'}}},{'Effect':'Deny','Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/h.exa` +
				`mple/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'NotIpAddress':{'aws:SourceIp':'` +
				`203.0.113.0/24'}}}]}`,
		},
		{
			Code: "RC3020", Name: "aud-slip", Severity: finding.Error, Kind: Trust,
			Meaning: "The audience is almost sts.amazonaws.com, or a regional endpoint, which no provider " +
				"registers; or it is almost the address at which AWS takes assertions in.",
			Fix: "Write sts.amazonaws.com; for SAML https://signin.aws.amazon.com/saml, or a region's.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p:aud':'https://sts.amazonaws.com','h.example/p:sub':'system:servicea` +
				`ccount:a:b'}}}]}`,
		},
		{
			Code: "RC3021", Name: "aud-mismatch", Severity: finding.Error, Kind: Trust, facts: knowsOther,
			Meaning: "The policy wants another audience than the tokens have.",
			Fix:     "Compare the tokens' audience.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringLike':{'h.example/p:aud':'sts.*'}}}]}`,
		},
		{
			Code: "RC3022", Name: "aud-not-registered", Severity: finding.Error, Kind: Trust, facts: knowsRegistered,
			Meaning: "The provider does not register the audience that the policy wants.",
			Fix:     "Compare one that it registers, or register it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringEquals':{'h.example/p:aud':'sts.amazonaws.com'}}}]}`,
		},
		{
			Code: "RC3023", Name: "audience-not-registered", Severity: finding.Error, Kind: Trust, facts: knowsOther,
			Meaning: "The provider does not register the audience of the tokens, so that STS refuses them " +
				"before it reads the policy.",
			Fix: "Register the audience.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:oidc-provider/h.example/p'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'` +
				`StringLike':{'h.example/p:aud':'sts.*'}}}]}`,
		},
		{
			Code: "RC3024", Name: "token-without-tag-session", Severity: finding.Error, Kind: Trust, facts: knowsTagged,
			Meaning: "Tagged tokens need sts:TagSession, too.",
			Fix:     "Allow sts:TagSession.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::1` +
				`11122223333:saml-provider/p'},'Action':'sts:AssumeRoleWithWebIdentity'}]}`,
		},
		{
			Code: "RC3025", Name: "pods-without-tag-session", Severity: finding.Warning, Kind: Trust,
			Meaning: "EKS Pod Identity passes session tags: it needs sts:TagSession.",
			Fix:     "Allow sts:TagSession.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Service':'pods.eks.amazona` +
				`ws.com'},'Action':'sts:AssumeRole','Condition':{'StringEquals':{'aws:SourceAccount':'1111222233` +
				`33'}}}]}`,
		},
		{
			Code: "RC3026", Name: "bad-account", Severity: finding.Error, Kind: Trust,
			Meaning: "A word stands where an account number belongs.",
			Fix:     "Write the 12 digits.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'Service':'pods.eks.amazona` +
				`ws.com'},'Action':['sts:AssumeRole','sts:TagSession'],'Condition':{'StringEquals':{'aws:SourceA` +
				`ccount':'aws-account-number'},'ArnEquals':{'aws:SourceArn':'cluster-arn'}}}]}`,
		},
		{
			Code: "RC3027", Name: "placeholder", Severity: finding.Error, Kind: Identity,
			Meaning: "A placeholder of a template is not filled in.",
			Fix:     "Fill it in.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'StringEquals':{'a':'<VALUE>'}}}]}`,
		},
		{
			Code: "RC3028", Name: "source-without-tag-session", Severity: finding.Error, Kind: Trust, facts: knowsSource,
			Meaning: "A role of pods is to go on to this one, and its sessions have transitive tags: they need " +
				"sts:TagSession here, too.",
			Fix: "Allow sts:TagSession, or give the sessions no tags that go on: sessionTagging: Local.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111122` +
				`223333:role/pod'},'Action':'sts:AssumeRole'}]}`,
		},
		{
			Code: "RC3029", Name: "source-refused", Severity: finding.Error, Kind: Trust, facts: knowsSource,
			Meaning: "A role whose sessions must be let in is not; the policy engine says why.",
			Fix:     "Name the role as principal.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111122` +
				`223333:role/other'},'Action':'sts:AssumeRole'}]}`,
		},
		{
			Code: "RC4001", Name: "pass-role-any", Severity: finding.Security, Kind: Identity,
			Meaning: "iam:PassRole on every role: the holder can pass any role to a service.",
			Fix:     "Name the roles, or compare iam:PassedToService.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'iam:PassRole','Resource':'*'}]` +
				`}`,
		},
		{
			Code: "RC4002", Name: "deny-escaped", Severity: finding.Security, Kind: Identity,
			Meaning: "A request without the key escapes a Deny.",
			Fix:     "Compare with IfExists.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Deny','Action':'s3:*','Resource':'*','Condition` +
				`':{'Bool':{'aws:MultiFactorAuthPresent':'false'}}}]}`,
		},
		{
			Code: "RC4003", Name: "variable-in-old-version", Severity: finding.Error, Kind: Identity,
			Meaning: "A variable in a document that is not of version 2012-10-17 is plain text.",
			Fix:     `Write "Version": "2012-10-17".`,
			Example: `{'Version':'2008-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3::` +
				`:${aws:username}'}]}`,
		},
		{
			Code: "RC4004", Name: "malformed-variable", Severity: finding.Error, Kind: Identity,
			Meaning: "It looks like a variable and is plain text.",
			Fix:     "Write ${key} or ${key, 'default'}.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3::` +
				`:${ aws:username}'}]}`,
		},
		{
			Code: "RC4005", Name: "needs-set-operator", Severity: finding.Error, Kind: Identity,
			Meaning: "A key with several values is compared without ForAnyValue: or ForAllValues:, which never " +
				"holds.",
			Fix: "Add the prefix.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'StringEquals':{'aws:TagKeys':'a'}}}]}`,
		},
		{
			Code: "RC4006", Name: "empty-list", Severity: finding.Error, Kind: Identity,
			Meaning: "A condition lists no value, so it never holds.",
			Fix:     "Add a value.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'StringEquals':{'a':[]}}}]}`,
		},
		{
			Code: "RC4007", Name: "unknown-operator", Severity: finding.Error, Kind: Identity,
			Meaning: "An operator does not exist; AWS accepts it because it is empty.",
			Fix:     "Write an operator of AWS's.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'StringEqual':{}}}]}`,
		},
		{
			Code: "RC4008", Name: "wildcard-in-service", Severity: finding.Error, Kind: Resource,
			Meaning: "A wildcard before an action's colon does not reach across services.",
			Fix:     "Name the service.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'111122223333'},'Acti` +
				`on':'s*:Get*','Resource':'*'}]}`,
		},
		{
			Code: "RC4009", Name: "wildcard-without-like", Severity: finding.Warning, Kind: Identity,
			Meaning: "An equality takes * and ? literally; an error where nobody is let in because of it.",
			Fix:     "Compare with StringLike.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'StringNotEquals':{'a':'x*'}}}]}`,
		},
		{
			Code: "RC4010", Name: "unknown-service", Severity: finding.Warning, Kind: Identity,
			Meaning: "No service has the prefix.",
			Fix:     "Write the service's prefix.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'sss:Get*','Resource':'*'}]}`,
		},
		{
			Code: "RC4011", Name: "unknown-trust-action", Severity: finding.Warning, Kind: Trust,
			Meaning: "An sts: action in a trust policy assumes no role.",
			Fix:     "Name sts:AssumeRole or one of its kind.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::1111222` +
				`23333:role/a'},'Action':['sts:AssumeRole','sts:GetCallerIdentity']}]}`,
		},
		{
			Code: "RC4012", Name: "deny-not-principal", Severity: finding.Warning, Kind: Resource,
			Meaning: "Deny with NotPrincipal denies more than it seems to.",
			Fix:     `Write Principal "*" with ArnNotEquals aws:PrincipalArn.`,
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Deny','NotPrincipal':{'AWS':'111122223333'},'Ac` +
				`tion':'s3:*','Resource':'*'}]}`,
		},
		{
			Code: "RC4013", Name: "not-resource-variable", Severity: finding.Warning, Kind: Identity,
			Meaning: "NotResource excludes nothing when its variable has no value.",
			Fix:     "Give the variable a default.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','NotResource':'arn:aws:s` +
				`3:::${aws:username}'}]}`,
		},
		{
			Code: "RC4014", Name: "unknown-action", Severity: finding.Warning, Kind: Identity,
			Meaning: "There is no such action: it is misspelt, or the name of an API operation that needs another one.",
			Fix:     "Write the action that is meant.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObjects','Resource':` +
				`'arn:aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC4015", Name: "action-on-wrong-resource", Severity: finding.Error, Kind: Identity,
			Meaning: "No resource of the statement is of the kind that the action is about, so that it never matches: " +
				"s3:ListBucket is about a bucket, kms:Decrypt about a key and not its alias.",
			Fix: "Name a resource of the action's kind.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:ListBucket','Resource':` +
				`'arn:aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC4016", Name: "secret-without-suffix", Severity: finding.Error, Kind: Identity,
			Meaning: "A secret is named without the six characters with which its ARN ends.",
			Fix:     "Add -??????.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'secretsmanager:GetSecretValue',` +
				`'Resource':'arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db'}]}`,
		},
		{
			Code: "RC4017", Name: "allow-everything", Severity: finding.Security, Kind: Identity,
			Meaning: "Every action on every resource is allowed: the holder is an administrator of the account.",
			Fix:     "Name actions and resources.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'*','Resource':'*'}]}`,
		},
		{
			Code: "RC4018", Name: "public-resource", Severity: finding.Security, Kind: Resource,
			Meaning: "Anybody may do with the resource what the statement allows; a warning if he has to know a text that " +
				"is no secret.",
			Fix: "Name the principals, or compare aws:PrincipalOrgID, aws:SourceVpce and the like.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Principal':'*','Action':'s3:GetObject',` +
				`'Resource':'arn:aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC4019", Name: "privilege-escalation", Severity: finding.Security, Kind: Identity,
			Meaning: "The holder gets the permissions of others, or gives himself more, also by passing a role to a service " +
				"that he lets run something: the engine allows the action on resources that nobody named.",
			Fix: "Name the resources, or compare iam:PolicyARN or iam:PermissionsBoundary.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'iam:CreatePolicyVersion',` +
				`'Resource':'*'}]}`,
		},
		{
			Code: "RC4020", Name: "mfa-if-exists", Severity: finding.Security, Kind: Identity,
			Meaning: "An Allow with IfExists, or a negated operator, on aws:MultiFactorAuthPresent also holds for " +
				"long-term keys, without MFA.",
			Fix: "Compare with Bool.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'ec2:StopInstances','Resource':'*',` +
				`'Condition':{'BoolIfExists':{'aws:MultiFactorAuthPresent':'true'}}}]}`,
		},
		{
			Code: "RC4021", Name: "unknown-variable", Severity: finding.Error, Kind: Identity,
			Meaning: "A variable names a key that does not exist, so that its text never matches.",
			Fix:     "Write the key that is meant.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObject','Resource':` +
				`'arn:aws:s3:::b/${aws:usrname}/*'}]}`,
		},
		{
			Code: "RC4022", Name: "unknown-key", Severity: finding.Warning, Kind: Identity,
			Meaning: "There is no such global condition key.",
			Fix:     "Write the key that is meant.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:GetObject','Resource':'*',` +
				`'Condition':{'StringEquals':{'aws:PrincipalOrgId1':'o-abcde12345'}}}]}`,
		},
		{
			Code: "RC5001", Name: "no-version", Severity: finding.Warning, Kind: Identity,
			Meaning: "Without Version the document is of version 2008-10-17, in which variables do not work.",
			Fix:     `Write "Version": "2012-10-17".`,
			Example: `{'Statement':{'Effect':'Allow','Action':'s3:*','Resource':'*'}}`,
		},
		{
			Code: "RC5002", Name: "near-quota", Severity: finding.Warning, Kind: Session,
			Meaning: "It has above 90 % of the characters that AWS stores.",
			Fix:     "Leave out Sids, or merge statements.",
			make:    nearQuotaExample,
		},
		{
			Code: "RC5003", Name: "duplicate-statement", Severity: finding.Warning, Kind: Identity,
			Meaning: "Another statement says the same.",
			Fix:     "Remove one.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*'},{'Effect` +
				`':'Allow','Action':'s3:*','Resource':'*'}]}`,
		},
		{
			Code: "RC5004", Name: "covered-statement", Severity: finding.Warning, Kind: Identity,
			Meaning: "Another statement makes this one superfluous.",
			Fix:     "Remove it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:Get*','Resource':'arn:aws:s` +
				`3:::b/x/*'},{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::b/*'}]}`,
		},
		{
			Code: "RC5005", Name: "empty-operator", Severity: finding.Warning, Kind: Identity,
			Meaning: "An operator has no key and constrains nothing.",
			Fix:     "Remove it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'StringEquals':{}}}]}`,
		},
		{
			Code: "RC5006", Name: "empty-condition", Severity: finding.Warning, Kind: Identity,
			Meaning: "An empty Condition constrains nothing.",
			Fix:     "Remove it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{}}]}`,
		},
		{
			Code: "RC5007", Name: "null-resource", Severity: finding.Warning, Kind: Identity,
			Meaning: "AWS ignores null among resources.",
			Fix:     "Remove it.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':['*',null]}]}`,
		},
		{
			Code: "RC5008", Name: "letter-case", Severity: finding.Warning, Kind: Identity,
			Meaning: "An operator, a service or an ARN is in unusual letters.",
			Fix:     "Write it as AWS does.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'S3:*','Resource':'*'}]}`,
		},
		{
			Code: "RC5009", Name: "bool-value", Severity: finding.Warning, Kind: Identity,
			Meaning: "What is neither true nor false counts as false.",
			Fix:     "Write true or false.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'Bool':{'a':'yes'}}}]}`,
		},
		{
			Code: "RC5010", Name: "if-exists-with-set", Severity: finding.Warning, Kind: Identity,
			Meaning: "IfExists together with a set prefix changes nothing.",
			Fix:     "Leave it out.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'ForAnyValue:StringEqualsIfExists':{'aws:TagKeys':'a'}}}]}`,
		},
		{
			Code: "RC5011", Name: "set-operator-null", Severity: finding.Warning, Kind: Identity,
			Meaning: "A set prefix before Null changes nothing.",
			Fix:     "Leave it out.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:*','Resource':'*','Conditio` +
				`n':{'ForAnyValue:Null':{'aws:TagKeys':'true'}}}]}`,
		},
		{
			Code: "RC5012", Name: "id", Severity: finding.Warning, Kind: Identity,
			Meaning: "IAM ignores Id in this kind of policy.",
			Fix:     "Remove it.",
			Example: `{'Version':'2012-10-17','Id':'x','Statement':{'Effect':'Allow','Action':'s3:*','Resource':'*'}}`,
		},
		{
			Code: "RC5013", Name: "blank-in-action", Severity: finding.Warning, Kind: Identity,
			Meaning: "An action has white space inside and never matches.",
			Fix:     "Leave it out.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':'s3:Get Object','Resource':'*'}` +
				`]}`,
		},
		{
			Code: "RC5014", Name: "blank-around-action", Severity: finding.Warning, Kind: Identity,
			Meaning: "An action has white space around it.",
			Fix:     "Leave it out.",
			Example: `{'Version':'2012-10-17','Statement':[{'Effect':'Allow','Action':' s3:GetObject','Resource':'*'}` +
				`]}`,
		},
	}
})
