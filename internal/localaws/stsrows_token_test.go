package localaws_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

var null = json.RawMessage("null")

var requestRows = []stsRow{
	{row: 1, name: "the good request", status: ok, has: []string{
		":assumed-role/R/s1</Arn>", ":s1</AssumedRoleId>", "<Provider>" + provider + "</Provider>",
		"<Audience>sts.amazonaws.com</Audience>",
		"<SubjectFromWebIdentityToken>" +
			subject + "</SubjectFromWebIdentityToken>", "<Expiration>2026-09-01T13:00:00Z</Expiration>",
		"<PackedPolicySize>",
	}},
	{row: 2, name: "answered in JSON", ask: func(w *world) answer {
		r := w.request(http.MethodPost, "", w.form().Encode())
		r.Header.Set("Accept", "application/json")
		return w.do(r)
	}, status: ok, has: []string{
		`{"AssumeRoleWithWebIdentityResponse":{"AssumeRoleWithWebIdentityResult":{"SubjectFromWebIdentityToken":`,
		fmt.Sprintf(`"Expiration":%d,`, at(time.Hour)),
	}},
	{row: 2, name: "refused in JSON", ask: func(w *world) answer {
		r := w.request(http.MethodPost, "", "Action=GetCallerIdentity&Version=2011-06-15")
		r.Header.Set("Accept", "application/json")
		return w.do(r)
	}, status: 403, has: []string{
		`{"Error":{"Type":"Sender","Code":"MissingAuthenticationToken","Message":"Request is missing Authentication ` +
			`Token"},"RequestId":"`,
	}},
	{row: 2, name: "GetCallerIdentity answered in JSON", ask: func(w *world) answer {
		const body = "Action=GetCallerIdentity&Version=2011-06-15"
		r := w.request(http.MethodPost, "", body)
		r.Header.Set("Accept", "application/json")
		w.sign(r, w.admin, "sts", body, w.clock())
		return w.do(r)
	}, status: ok, has: []string{
		`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"arn:aws:iam::111122223333:user/admin",` +
			`"UserId":"AIDA`,
	}},
	{row: 3, name: "sent with GET", ask: func(w *world) answer {
		return w.do(w.request(http.MethodGet, "?"+w.form().Encode(), ""))
	}, status: ok},
	{
		row:    4,
		name:   "no role",
		more:   more{"RoleArn": ""},
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must " +
			"not be null",
	},
	{
		row:     5,
		name:    "two missing",
		more:    more{"RoleSessionName": "", "WebIdentityToken": ""},
		status:  400,
		code:    "ValidationError",
		message: "2 validation errors detected: Value null at 'roleSessionName'",
	},
	{
		row:    6,
		name:   "session name",
		more:   more{"RoleSessionName": "a b"},
		status: 400,
		code:   "ValidationError",
		message: `1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: ` +
			`Member must satisfy regular expression pattern: [\w+=,.@-]*`,
	},
	{
		row:    7,
		name:   "short name",
		more:   more{"RoleSessionName": "a"},
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value 'a' at 'roleSessionName' failed to satisfy constraint: Member " +
			"must have length greater than or equal to 2",
	},
	{
		row:    7,
		name:   "long name",
		more:   more{"RoleSessionName": strings.Repeat("a", 65)},
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value '" + strings.Repeat("a", 65) +
			"' at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64",
	},
	{
		row:    8,
		name:   "short token",
		raw:    text("abc"),
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member " +
			"must have length greater than or equal to 4",
	},
	{
		row:    9,
		name:   "long token",
		raw:    text(strings.Repeat("a", 20001)),
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member " +
			"must have length less than or equal to 20000",
	},
	{
		row:    10,
		name:   "short duration",
		more:   more{"DurationSeconds": "899"},
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: " +
			"Member must have value greater than or equal to 900",
	},
	{
		row:    10,
		name:   "long duration",
		more:   more{"DurationSeconds": "43201"},
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: " +
			"Member must have value less than or equal to 43200",
	},
	{
		row:    11,
		name:   "duration with an exponent",
		more:   more{"DurationSeconds": "9e2"},
		status: 400,
		code:   "MalformedInput",
	},
	{
		row:    11,
		name:   "duration with a fraction",
		more:   more{"DurationSeconds": "900.0"},
		status: 400,
		code:   "MalformedInput",
	},
	{
		row:    11,
		name:   "duration between blanks",
		more:   more{"DurationSeconds": " 900 "},
		status: 400,
		code:   "MalformedInput",
	},
	{
		row:    11,
		name:   "duration beyond 32 bits",
		more:   more{"DurationSeconds": "2147483648"},
		status: 400,
		code:   "MalformedInput",
	},
	{row: 11, name: "duration with a leading zero", more: more{"DurationSeconds": "0900"}, status: ok},
	{row: 11, name: "duration with a plus", more: more{"DurationSeconds": "+900"}, status: ok},
	{
		row:     12,
		name:    "above the role's",
		more:    more{"DurationSeconds": "3601"},
		status:  400,
		code:    "ValidationError",
		message: "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
	},
	{
		row:     13,
		name:    "a user",
		more:    more{"RoleArn": "arn:aws:iam::111122223333:user/x"},
		status:  400,
		code:    "ValidationError",
		message: "arn:aws:iam::111122223333:user/x is invalid",
	},
	{
		row:     75,
		name:    "amazon",
		more:    more{"ProviderId": "www.amazon.com"},
		status:  400,
		code:    iit,
		message: "Provided Token is not a Login With Amazon token",
	},
	{
		row:     76,
		name:    "google",
		more:    more{"ProviderId": "accounts.google.com"},
		status:  403,
		code:    "AccessDenied",
		message: "Unrecognized OAuth provider.",
	},
	{
		row:    77,
		name:   "session policy that is not JSON",
		more:   more{"Policy": "{"},
		status: 400,
		code:   "MalformedPolicyDocument",
	},
	{
		row:    78,
		name:   "long policy",
		more:   more{"Policy": strings.Repeat(" ", 2049)},
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have " +
			"length less than or equal to 2048",
	},
	{
		row:    79,
		name:   "11 policies",
		more:   managedPolicies(11),
		status: 400,
		code:   "ValidationError",
		message: "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have " +
			"length less than or equal to 10",
	},
	{row: 79, name: "10 policies", more: managedPolicies(10), status: ok},
	{
		row:     81,
		name:    "unknown action",
		more:    more{"Action": "AssumeRoleWithWebIdentityX"},
		status:  400,
		code:    "InvalidAction",
		message: "Could not find operation AssumeRoleWithWebIdentityX for version 2011-06-15",
	},
	{
		row:     81,
		name:    "unknown version",
		more:    more{"Version": "2000-01-01"},
		status:  400,
		code:    "InvalidAction",
		message: "Could not find operation AssumeRoleWithWebIdentity for version 2000-01-01",
	},
	{
		row:     81,
		name:    "an action that is a permission only",
		more:    more{"Action": "TagSession"},
		status:  400,
		code:    "InvalidAction",
		message: "Could not find operation TagSession",
	},
}

var tokenRows = []stsRow{
	{row: 14, name: "no token", raw: text("not.a.token"), status: 400, code: iit, message: notJWT},
	{
		row:     14,
		name:    "newline at the end",
		raw:     func(w *world) string { return w.token(w.key, nil) + "\n" },
		status:  400,
		code:    iit,
		message: notJWT,
	},
	{
		row:     14,
		name:    "quoted",
		raw:     func(w *world) string { return `"` + w.token(w.key, nil) + `"` },
		status:  400,
		code:    iit,
		message: notJWT,
	},
	{
		row:     15,
		name:    "crit",
		raw:     withHeader(func(w *world) string { return `{"alg":"RS256","kid":"` + w.key.ID() + `","crit":["x"]}` }),
		status:  400,
		code:    iit,
		message: notJWT,
	},
	{row: 16, name: "algorithm none", raw: algorithm("none"), status: 400, code: iit, message: notJWT},
	{
		row:     16,
		name:    "none without signature",
		raw:     func(*world) string { return part(`{"alg":"none"}`) + "." + part(string(claims(nil))) + "." },
		status:  400,
		code:    iit,
		message: notJWT,
	},
	{row: 16, name: "algorithm None", raw: algorithm("None"), status: 400, code: iit, message: notJWT},
	{row: 16, name: "HS256", raw: algorithm("HS256"), status: 400, code: iit, message: notJWT},
	{row: 16, name: "HS256 with the public key", raw: hs256, status: 400, code: iit, message: notJWT},
	{row: 16, name: "PS256", raw: algorithm("PS256"), status: 400, code: iit, message: notJWT},
	{row: 16, name: "EdDSA", raw: algorithm("EdDSA"), status: 400, code: iit, message: notJWT},
	{row: 16, name: "ES256 with an RSA key", raw: algorithm("ES256"), status: 400, code: iit, message: generic},
	{
		row:     17,
		name:    "no iss",
		claims:  edit{"iss": nil},
		status:  400,
		code:    iit,
		message: "Missing a required claim: iss",
	},
	{
		row:     17,
		name:    "Iss",
		claims:  edit{"iss": nil, "Iss": issuerURL},
		status:  400,
		code:    iit,
		message: "Missing a required claim: iss",
	},
	{
		row:     18,
		name:    "no sub",
		claims:  edit{"sub": nil},
		status:  400,
		code:    iit,
		message: "Missing a required claim: sub",
	},
	{
		row:     19,
		name:    "no aud",
		claims:  edit{"aud": nil},
		status:  400,
		code:    iit,
		message: "Missing a required claim: aud",
	},
	{
		row:     20,
		name:    "no iat",
		claims:  edit{"iat": nil},
		status:  400,
		code:    iit,
		message: "Missing a required claim: iat",
	},
	{
		row:     21,
		name:    "no exp",
		claims:  edit{"exp": nil},
		status:  400,
		code:    iit,
		message: "Missing a required claim: exp",
	},
	{
		row:     22,
		name:    "aud empty",
		claims:  edit{"aud": []string{}},
		status:  400,
		code:    iit,
		message: "Claim is not allowed to be empty: aud",
	},
	{
		row:     23,
		name:    "two audiences",
		claims:  edit{"aud": []string{"a", "sts.amazonaws.com"}},
		status:  400,
		code:    iit,
		message: "Token audience contains more than one audience",
	},
	{
		row:     23,
		name:    "the same audience twice",
		claims:  edit{"aud": []string{"sts.amazonaws.com", "sts.amazonaws.com"}},
		status:  400,
		code:    iit,
		message: "Token audience contains more than one audience",
	},
	{
		row:    24,
		name:   "one audience",
		claims: edit{"aud": []string{"sts.amazonaws.com"}},
		status: ok,
		has:    []string{"<Audience>sts.amazonaws.com</Audience>"},
	},
	{
		row:    24,
		name:   "aud a text",
		claims: edit{"aud": "sts.amazonaws.com"},
		status: ok,
		has:    []string{"<Audience>sts.amazonaws.com</Audience>"},
	},
	{
		row:    25,
		name:   "azp",
		claims: edit{"aud": "other", "azp": "sts.amazonaws.com"},
		status: ok,
		has:    []string{"<Audience>sts.amazonaws.com</Audience>"},
	},
	{row: 26, name: "azp other", claims: edit{"azp": "other"}, status: 400, code: iit, message: generic},
	{row: 26, name: "azp empty", claims: edit{"azp": ""}, status: 400, code: iit, message: generic},
	{row: 27, name: "another audience", claims: edit{"aud": "other"}, status: 400, code: iit, message: generic},
	{
		row:     27,
		name:    "audience in other case",
		claims:  edit{"aud": "STS.amazonaws.com"},
		status:  400,
		code:    iit,
		message: generic,
	},
	{
		row:     28,
		name:    "another issuer",
		claims:  edit{"iss": "https://other.example"},
		status:  400,
		code:    iit,
		message: generic,
	},
	{row: 28, name: "issuer http", claims: edit{"iss": "http://" + issuerID}, status: 400, code: iit, message: generic},
	{row: 28, name: "issuer without scheme", claims: edit{"iss": issuerID}, status: 400, code: iit, message: generic},
	{
		row:     28,
		name:    "issuer in other case",
		claims:  edit{"iss": "https://S3.eu-west-1.amazonaws.com/b/c1"},
		status:  400,
		code:    iit,
		message: generic,
	},
	{
		row:     28,
		name:    "issuer with path in other case",
		claims:  edit{"iss": "https://" + host + "/B/c1"},
		status:  400,
		code:    iit,
		message: generic,
	},
	{
		row:     29,
		name:    "other account",
		more:    more{"RoleArn": "arn:aws:iam::444455556666:role/R"},
		status:  400,
		code:    iit,
		message: generic,
	},
	{
		row:     29,
		name:    "an account that is played and has no provider",
		more:    more{"RoleArn": "arn:aws:iam::" + otherAccount + ":role/R"},
		status:  400,
		code:    iit,
		message: generic,
	},
	{
		row:     29,
		name:    "other partition",
		more:    more{"RoleArn": "arn:aws-cn:iam::111122223333:role/R"},
		status:  400,
		code:    iit,
		message: generic,
	},
	{
		row:     30,
		name:    "issuer with a slash at the end",
		claims:  edit{"iss": issuerURL + "/"},
		status:  400,
		code:    iit,
		message: generic,
	},
	{row: 30, name: "provider with slash", set: func(w *world) {
		w.iam("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", provider)
		w.iam("CreateOpenIDConnectProvider", "Url", issuerURL+"/", "ClientIDList.member.1", "sts.amazonaws.com")
	}, status: 400, code: iit, message: generic},
	{row: 31, name: "another key under the kid", raw: func(w *world) string {
		return signedRSA(w, w.otherRSA(), crypto.SHA256, `{"alg":"RS256","kid":"`+w.key.ID()+`"}`)
	}, status: 400, code: iit, message: generic},
	{row: 32, name: "payload changed", raw: func(w *world) string {
		parts := strings.Split(w.token(w.key, nil), ".")
		return parts[0] + "." + base64.RawURLEncoding.EncodeToString(claims(edit{
			"sub": "system:serviceaccount:app:apj",
		})) + "." + parts[2]
	}, status: 400, code: iit, message: generic},
	{row: 32, name: "no signature", raw: func(w *world) string {
		parts := strings.Split(w.token(w.key, nil), ".")
		return parts[0] + "." + parts[1] + "."
	}, status: 400, code: iit, message: generic},
	{
		row:    52,
		name:   "sub a number",
		set:    trusting(trust(`"StringEquals":{"` + issuerID + `:sub":"123"}`)),
		claims: edit{"sub": 123},
		status: ok,
		has:    []string{"<SubjectFromWebIdentityToken>123</"},
	},
	{
		row:     53,
		name:    "sub null",
		claims:  edit{"sub": null},
		status:  500,
		code:    "InternalFailure",
		message: "Unknown error validating third-party token",
	},
	{row: 9, name: "a token of nearly all that is allowed", claims: edit{"x": strings.Repeat("x", 14000)}, status: ok},
}

var timeRows = []stsRow{
	{
		row:    45,
		name:   "exp 299 s ago",
		claims: edit{"exp": at(-299 * time.Second), "iat": at(-time.Hour), "nbf": at(-time.Hour)},
		status: ok,
	},
	{
		row:    46,
		name:   "exp 301 s ago",
		claims: edit{"exp": at(-301 * time.Second)},
		status: 400,
		code:   "ExpiredTokenException",
		message: fmt.Sprintf(
			"Token expired: current date/time %d must be before the expiration date/time %d", at(-300*time.Second),
			at(-301*time.Second),
		),
	},
	{
		row:    47,
		name:   "240 s ahead",
		claims: edit{"iat": at(240 * time.Second), "nbf": at(240 * time.Second)},
		status: ok,
	},
	{
		row:     48,
		name:    "iat ahead",
		claims:  edit{"iat": at(time.Hour)},
		status:  400,
		code:    iit,
		message: fmt.Sprintf("Token issued in the future: %d", at(time.Hour)),
	},
	{
		row:    49,
		name:   "nbf ahead",
		claims: edit{"nbf": at(time.Hour)},
		status: 400,
		code:   iit,
		message: fmt.Sprintf(
			"Token not yet valid: current date/time %d must be after or equal to the not-before date/time %d",
			at(300*time.Second), at(time.Hour),
		),
	},
	{row: 49, name: "no nbf", claims: edit{"nbf": nil}, status: ok},
	{row: 50, name: "exp as digits", claims: edit{"exp": fmt.Sprint(at(time.Hour))}, status: ok},
	{
		row:     51,
		name:    "iat fraction",
		claims:  edit{"iat": 1.5},
		status:  400,
		code:    iit,
		message: "Invalid timestamp in token claims.",
	},
	{
		row:     51,
		name:    "exp null",
		claims:  edit{"exp": null},
		status:  400,
		code:    iit,
		message: "Invalid timestamp in token claims.",
	},
	{
		row:     51,
		name:    "nbf text",
		claims:  edit{"nbf": "x"},
		status:  400,
		code:    iit,
		message: "Invalid timestamp in token claims.",
	},
	{
		row:     51,
		name:    "exp beyond all numbers",
		claims:  edit{"exp": json.RawMessage("1e400")},
		status:  400,
		code:    iit,
		message: "Invalid timestamp in token claims.",
	},
	{
		row:    80,
		name:   "expires soon",
		claims: edit{"exp": at(60 * time.Second)},
		more:   more{"DurationSeconds": "3600"},
		status: ok,
		has:    []string{"<Expiration>2026-09-01T13:00:00Z</Expiration>"},
	},
}

func text(raw string) func(*world) string { return func(*world) string { return raw } }

func managedPolicies(n int) more {
	m := more{}
	for i := range n {
		m[fmt.Sprintf("PolicyArns.member.%d.arn", i+1)] = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	}
	return m
}

// form is the good request's.
func (w *world) form() url.Values {
	w.t.Helper()
	return url.Values{
		"Action":           {"AssumeRoleWithWebIdentity"},
		"Version":          {"2011-06-15"},
		"RoleArn":          {roleR},
		"RoleSessionName":  {"s1"},
		"WebIdentityToken": {w.token(w.key, nil)},
	}
}
