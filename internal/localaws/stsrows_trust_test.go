package localaws_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

const (
	subKey   = `"` + issuerID + `:sub":`
	amrKey   = `"` + issuerID + `:amr":`
	tagsKey  = "https://aws.amazon.com/tags"
	rolesKey = "https://aws.amazon.com/roles"
	fromKey  = "https://aws.amazon.com/source_identity"
	roleX    = "arn:aws:iam::111122223333:role/X"
)

var openTrust = trust("")

// carrying is the trust that lets a session carry tags and a source identity.
var carrying = strings.Replace(
	openTrust, `"sts:AssumeRoleWithWebIdentity"`,
	`["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"]`, 1,
)

func principalTags(tags edit, transitive ...string) edit {
	return edit{tagsKey: edit{"principal_tags": tags, "transitive_tag_keys": transitive}}
}

var trustRows = []stsRow{
	{
		row:     54,
		name:    "another service account",
		claims:  edit{"sub": "system:serviceaccount:app:other"},
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:     55,
		name:    "no such role",
		more:    more{"RoleArn": "arn:aws:iam::111122223333:role/none"},
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:     55,
		name:    "a path too many",
		more:    more{"RoleArn": "arn:aws:iam::111122223333:role/x/R"},
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:     55,
		name:    "role in other case",
		more:    more{"RoleArn": "arn:aws:iam::111122223333:role/r"},
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:     56,
		name:    "wildcard in StringEquals",
		set:     trusting(trust(`"StringEquals":{` + subKey + `"system:serviceaccount:app:*"}`)),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:    57,
		name:   "StringLike",
		set:    trusting(trust(`"StringLike":{` + subKey + `"system:serviceaccount:app:*"}`)),
		status: ok,
	},
	{
		row:  58,
		name: "allow and deny",
		set: trusting(
			`{"Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider +
				`"},"Action":"sts:*"},{"Effect":"Deny","Principal":{"Federated":"` + provider +
				`"},"Action":"sts:*","Condition":{"StringEquals":{` + subKey + `"` + subject + `"}}}]}`,
		),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:     59,
		name:    "AssumeRole only",
		set:     trusting(strings.Replace(openTrust, "WithWebIdentity", "", 1)),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:    60,
		name:   "sts:*",
		set:    trusting(strings.Replace(openTrust, "sts:AssumeRoleWithWebIdentity", "sts:*", 1)),
		status: ok,
	},
	{
		row:  61,
		name: "principal AWS *",
		set: trusting(
			`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRoleWithWebIdentity"}]}`,
		),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:    62,
		name:   "for all values of what is absent",
		set:    trusting(trust(`"ForAllValues:StringEquals":{` + amrKey + `"x"}`)),
		status: ok,
	},
	{
		row:    62,
		name:   "for all values",
		set:    trusting(trust(`"ForAllValues:StringEquals":{` + amrKey + `["x","y"]}`)),
		claims: edit{"amr": []string{"x"}},
		status: ok,
	},
	{
		row:     63,
		name:    "for any value of what is absent",
		set:     trusting(trust(`"ForAnyValue:StringEquals":{` + amrKey + `"x"}`)),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:    63,
		name:   "for any value",
		set:    trusting(trust(`"ForAnyValue:StringEquals":{` + amrKey + `"x"}`)),
		claims: edit{"amr": []string{"z", "x"}},
		status: ok,
	},
	{
		row:    64,
		name:   "key in capitals",
		set:    trusting(trust(`"StringEquals":{"` + strings.ToUpper(issuerID) + `:SUB":"` + subject + `"}`)),
		status: ok,
	},
	{
		row:     65,
		name:    "value in other case",
		set:     trusting(trust(`"StringEquals":{` + subKey + `"System:serviceaccount:app:api"}`)),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:     66,
		name:    "session name",
		set:     trusting(trust(`"StringEquals":{"sts:RoleSessionName":"other"}`)),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:    66,
		name:   "session name that fits",
		set:    trusting(trust(`"StringEquals":{"sts:RoleSessionName":"s1"}`)),
		status: ok,
	},
}

// contextRows are not of the table: the keys of spec iam-policy §5.4.
var contextRows = []stsRow{
	{name: "requested region", set: trusting(trust(`"StringEquals":{"aws:RequestedRegion":"us-east-1"}`)), status: ok},
	{
		name:    "another region",
		set:     trusting(trust(`"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`)),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		name:    "another provider",
		set:     trusting(strings.ReplaceAll(openTrust, "/b/c1", "/b/c2")),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		name: "who it is",
		set: trusting(
			trust(
				`"StringEquals":{"aws:PrincipalType":"User","aws:PrincipalAccount":"111122223333","aws:userid":"` +
					provider + `","aws:ResourceAccount":"111122223333"}`,
			),
		),
		status: ok,
	},
	{
		name: "what is absent",
		set: trusting(
			trust(
				`"Null":{"aws:PrincipalArn":"true","aws:username":"true","sts:ExternalId":"true",` +
					`"aws:SourceArn":"true","aws:SourceAccount":"true","aws:TokenIssueTime":"true",` +
					`"aws:FederatedProvider":"true","aws:MultiFactorAuthPresent":"true","` + issuerID +
					`:iss":"true","` + issuerID + `:kubernetes.io":"true","` + issuerID + `:azp":"true","` + issuerID +
					`:oaud":"true"}`,
			),
		),
		claims: edit{"kubernetes.io": edit{"namespace": "app"}},
		status: ok,
	},
	{
		name:   "email",
		set:    trusting(trust(`"StringEquals":{"` + issuerID + `:email":"a@example.com"}`)),
		claims: edit{"email": "a@example.com"},
		status: ok,
	},
	{
		name: "original audience",
		set: trusting(
			trust(
				`"ForAnyValue:StringEquals":{"` + issuerID + `:oaud":"other"},"StringEquals":{"` + issuerID +
					`:azp":"sts.amazonaws.com"}`,
			),
		),
		claims: edit{"aud": []string{"other", "more"}, "azp": "sts.amazonaws.com"},
		status: ok,
	},
}

var claimRows = []stsRow{
	{
		row:     67,
		name:    "tags without TagSession",
		set:     trusting(openTrust),
		claims:  principalTags(edit{"K": []string{"v"}}),
		status:  403,
		code:    "AccessDenied",
		message: "Not authorized to perform sts:TagSession",
	},
	{row: 68, name: "session tags", set: trusting(carrying), ask: func(w *world) answer {
		return w.tagged(principalTags(edit{"team": []string{"red"}}))
	}, status: 501, code: "NotImplemented", message: "allowed, but not emulated: sns:Publish"},
	{row: 68, name: "flat tags", set: trusting(carrying), ask: func(w *world) answer {
		return w.tagged(edit{
			tagsKey + "/principal_tags/team": "red",
			tagsKey + "/transitive_tag_keys": []string{"team"},
		})
	}, status: 501, code: "NotImplemented", message: "allowed, but not emulated: sns:Publish"},
	{row: 68, name: "another tag", set: trusting(carrying), ask: func(w *world) answer {
		return w.tagged(principalTags(edit{"team": []string{"blue"}}))
	}, status: 403, code: "AccessDenied"},
	{
		row:  68,
		name: "tags as conditions",
		set: trusting(
			strings.Replace(
				carrying, `"Condition":{}`,
				`"Condition":{"StringEquals":{"aws:RequestTag/team":"red"},`+
					`"ForAllValues:StringEquals":{"aws:TagKeys":["team"],"sts:TransitiveTagKeys":["team"]}}`,
				1,
			),
		),
		claims: principalTags(edit{"team": []string{"red"}}, "team"),
		status: ok,
	},
	{
		row:     69,
		name:    "tags as texts",
		claims:  principalTags(edit{"K": "v"}),
		status:  400,
		code:    iit,
		message: "principal_tags passed in claim is not in correct format.",
	},
	{
		row:     69,
		name:    "two values",
		claims:  principalTags(edit{"K": []string{"v", "w"}}),
		status:  400,
		code:    iit,
		message: "principal_tags passed in claim is not in correct format.",
	},
	{
		row:     69,
		name:    "keys that differ in case",
		set:     trusting(carrying),
		claims:  principalTags(edit{"K": []string{"v"}, "k": []string{"w"}}),
		status:  400,
		code:    "InvalidParameterValue",
		message: "Duplicate tag keys found.",
	},
	{
		row:     69,
		name:    "transitive without tag",
		set:     trusting(carrying),
		claims:  principalTags(edit{"K": []string{"v"}}, "L"),
		status:  400,
		code:    "InvalidParameterValue",
		message: "The specified transitive tag key must be included in the requested tags.",
	},
	{
		row:    70,
		name:   "source identity",
		set:    trusting(carrying),
		claims: edit{fromKey: "me"},
		status: ok,
		has:    []string{"<SourceIdentity>me</SourceIdentity>"},
	},
	{
		row:     70,
		name:    "source identity not allowed",
		claims:  edit{fromKey: "me"},
		status:  403,
		code:    "AccessDenied",
		message: "Not authorized to perform sts:SetSourceIdentity",
	},
	{row: 70, name: "source identity too short", claims: edit{fromKey: "m"}, status: 400, code: iit, message: generic},
	{row: 71, name: "roles listed", claims: edit{rolesKey: []string{roleR}}, status: ok},
	{row: 71, name: "roles as text", claims: edit{rolesKey: roleX + "; " + roleR}, status: ok},
	{row: 71, name: "roles null", claims: edit{rolesKey: null}, status: ok},
	{
		row:    71,
		name:   "authorized by the issuer",
		set:    trusting(trust(`"Bool":{"sts:RoleAuthorizedByIdp":"true"}`)),
		claims: edit{rolesKey: []string{roleR}},
		status: ok,
	},
	{
		row:     71,
		name:    "not authorized by the issuer",
		set:     trusting(trust(`"Bool":{"sts:RoleAuthorizedByIdp":"true"}`)),
		status:  403,
		code:    "AccessDenied",
		message: notAuthed,
	},
	{
		row:     72,
		name:    "roles without",
		claims:  edit{rolesKey: []string{roleX}},
		status:  400,
		code:    iit,
		message: "The target role ARN is not present in the roles claim",
	},
	{
		row:     73,
		name:    "no roles",
		claims:  edit{rolesKey: []string{}},
		status:  400,
		code:    iit,
		message: "The roles claim contains no valid role ARNs",
	},
	{
		row:     73,
		name:    "wildcard",
		claims:  edit{rolesKey: []string{"arn:aws:iam::111122223333:role/*"}},
		status:  400,
		code:    iit,
		message: "The roles claim contains no valid role ARNs",
	},
	{
		row:     74,
		name:    "roles a number",
		claims:  edit{rolesKey: 1},
		status:  400,
		code:    iit,
		message: "The roles claim is not in a supported format",
	},
	{
		row:     74,
		name:    "roles an object",
		claims:  edit{rolesKey: edit{}},
		status:  400,
		code:    iit,
		message: "The roles claim is not in a supported format",
	},
}

// tagged takes R, which may publish when its session has the tag team=red, and
// publishes.
func (w *world) tagged(claims edit) answer {
	w.t.Helper()
	document, _ := json.Marshal(edit{"Version": "2012-10-17", "Statement": edit{
		"Effect": "Allow", "Action": "sns:Publish", "Resource": "*", "Condition": edit{
			"StringEquals": edit{"aws:PrincipalTag/team": "red"},
		},
	}})
	w.iam("PutRolePolicy", "RoleName", "R", "PolicyName", "p", "PolicyDocument", string(document))
	session := credentialsIn(w.t, w.assume(w.token(w.key, claims), nil))
	return w.signed(session, "sns", url.Values{"Action": {"Publish"}, "Version": {"2010-03-31"}})
}

var iamRows = []stsRow{
	{row: 96, name: "provider twice", ask: func(w *world) answer {
		return w.iam("CreateOpenIDConnectProvider", "Url", issuerURL)
	}, status: 409, code: "EntityAlreadyExists", message: "Provider with url " + issuerURL + " already exists."},
	{row: 97, name: "provider with query", ask: func(w *world) answer {
		return w.iam("CreateOpenIDConnectProvider", "Url", "https://h/p?q")
	}, status: 400, code: "InvalidInput", message: "Unknown"},
	{row: 98, name: "provider with port 443", ask: func(w *world) answer {
		return w.iam("CreateOpenIDConnectProvider", "Url", "https://h.example:443/p")
	}, status: ok, has: []string{"oidc-provider/h.example/p<"}},
	{row: 99, name: "six thumbprints", ask: func(w *world) answer {
		pairs := []string{"Url", "https://six.example"}
		for _, n := range "123456" {
			pairs = append(pairs, "ThumbprintList.member."+string(n), strings.Repeat("a", 40))
		}
		return w.iam("CreateOpenIDConnectProvider", pairs...)
	}, status: 400, code: "InvalidInput", message: "Thumbprint list must contain fewer than 5 entries."},
	{row: 99, name: "short thumbprint", ask: func(w *world) answer {
		return w.iam(
			"CreateOpenIDConnectProvider", "Url", "https://x.example", "ThumbprintList.member.1",
			strings.Repeat("a", 39),
		)
	}, status: 400, code: "ValidationError"},
	{row: 100, name: "deletion of a provider", ask: func(w *world) answer {
		return w.iam("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", provider)
	}, status: ok},
	{
		row:  100,
		name: "delete twice",
		set:  func(w *world) { w.iam("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", provider) },
		ask: func(w *world) answer {
			return w.iam("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", provider)
		},
		status:  404,
		code:    "NoSuchEntity",
		message: "OpenId connect Provider " + provider + " cannot be found.",
	},
	{row: 101, name: "remove what is not there", ask: func(w *world) answer {
		return w.iam(
			"RemoveClientIDFromOpenIDConnectProvider", "OpenIDConnectProviderArn", provider, "ClientID", "nope",
		)
	}, status: ok},
	{row: 101, name: "add what is there", ask: func(w *world) answer {
		return w.iam(
			"AddClientIDToOpenIDConnectProvider", "OpenIDConnectProviderArn", provider, "ClientID", "sts.amazonaws.com",
		)
	}, status: ok},
	{row: 102, name: "long trust", ask: func(w *world) answer {
		return w.iam("CreateRole", "RoleName", "big", "AssumeRolePolicyDocument", trustOf(2049))
	}, status: 409, code: "LimitExceeded", message: "Cannot exceed quota for ACLSizePerRole: 2048"},
	{row: 102, name: "trust of just that length", ask: func(w *world) answer {
		return w.iam("CreateRole", "RoleName", "big", "AssumeRolePolicyDocument", trustOf(2048)+"   ")
	}, status: ok},
	{row: 103, name: "key outside an operator", ask: func(w *world) answer {
		return w.iam("CreateRole", "RoleName", "bad", "AssumeRolePolicyDocument", trust(`"a:sub":"x"`))
	}, status: 400, code: "MalformedPolicyDocument", message: "Syntax error in policy."},
}

// trustOf is a trust policy of so many characters that are not blank.
func trustOf(length int) string {
	fixed := len(trust(`"StringEquals":{"a:sub":""}`))
	return trust(`"StringEquals":{"a:sub":"` + strings.Repeat("x", length-fixed) + `"}`)
}

// issuerDown answers for the issuer's keys as told.
func issuerDown(status int) func(*world) {
	return func(w *world) { w.setJWKS("", status) }
}

func serving(handler http.HandlerFunc) func(*world) {
	return func(w *world) { w.serveKeys = handler }
}
