package localaws_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/internal/credential"
)

var whoami = url.Values{"Action": {"GetCallerIdentity"}}

// login is the session of spec issuer-and-sts §17 row 1.
func (w *world) login() credential.AWS {
	w.t.Helper()
	return credentialsIn(w.t, w.assume(w.token(w.key, nil), nil))
}

// whoamiWith asks who holds the credentials of login, changed.
func whoamiWith(change func(*world, *credential.AWS)) func(*world) answer {
	return func(w *world) answer {
		session := w.login()
		change(w, &session)
		return w.signed(session, "sts", whoami)
	}
}

func (w *world) take(c credential.AWS, role string, more ...string) answer {
	w.t.Helper()
	form := url.Values{
		"Action":          {"AssumeRole"},
		"RoleArn":         {"arn:aws:iam::111122223333:role/" + role},
		"RoleSessionName": {"s2"},
	}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return w.signed(c, "sts", form)
}

func chaining(w *world) {
	w.role(
		"chained",
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"`+roleR+
			`"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}]}`,
	)
}

// signedAt is GetCallerIdentity signed at another time.
func signedAt(at time.Time) func(*world) answer {
	return func(w *world) answer {
		const body = "Action=GetCallerIdentity&Version=2011-06-15"
		r := w.request(http.MethodPost, "", body)
		w.sign(r, w.admin, "sts", body, at)
		return w.do(r)
	}
}

// presigned is what an EKS token is made of.
func (w *world) presigned(service string, at time.Time, change func(*http.Request)) answer {
	w.t.Helper()
	r := w.request(http.MethodGet, "?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", "")
	r.Header.Set("X-K8s-Aws-Id", "cluster")
	empty := sha256.Sum256(nil)
	creds := aws.Credentials{AccessKeyID: w.admin.AccessKeyID, SecretAccessKey: w.admin.SecretKey.Reveal()}
	signed, _, err := v4.NewSigner().PresignHTTP(
		w.t.Context(), creds, r, hex.EncodeToString(empty[:]), service, "us-east-1", at,
	)
	if err != nil {
		w.t.Fatal(err)
	}
	again := w.request(http.MethodGet, strings.TrimPrefix(signed, w.url+"/"), "")
	again.Header.Set("X-K8s-Aws-Id", "cluster")
	if change != nil {
		change(again)
	}
	return w.do(again)
}

func acceptJSON(r *http.Request) { r.Header.Set("Accept", "application/json") }

var callerRows = []stsRow{
	{
		row:    82,
		name:   "who am I",
		ask:    whoamiWith(func(*world, *credential.AWS) {}),
		status: ok,
		has: []string{
			"<Arn>arn:aws:sts::111122223333:assumed-role/R/s1</Arn>",
			"<UserId>AROA",
			":s1</UserId>",
			"<Account>111122223333</Account>",
		},
	},
	{
		row:     83,
		name:    "wrong secret",
		ask:     whoamiWith(func(w *world, c *credential.AWS) { c.SecretKey = w.login().SecretKey }),
		status:  403,
		code:    "SignatureDoesNotMatch",
		message: "The request signature we calculated",
	},
	{
		row:     84,
		name:    "no session token",
		ask:     whoamiWith(func(_ *world, c *credential.AWS) { c.SessionToken = credential.Secret{} }),
		status:  403,
		code:    "InvalidClientTokenId",
		message: "The security token included in the request is invalid",
	},
	{row: 84, name: "altered token", ask: whoamiWith(func(_ *world, c *credential.AWS) {
		text := []byte(c.SessionToken.Reveal())
		text[40] ^= 1
		c.SessionToken = credential.NewSecret(string(text))
	}), status: 403, code: "InvalidClientTokenId", message: "The security token included in the request is invalid"},
	{
		row:    84,
		name:   "token of another session",
		ask:    whoamiWith(func(w *world, c *credential.AWS) { c.SessionToken = w.login().SessionToken }),
		status: 403,
		code:   "InvalidClientTokenId",
	},
	{
		row:  84,
		name: "token with a long-term key",
		ask: whoamiWith(func(w *world, c *credential.AWS) {
			c.AccessKeyID, c.SecretKey = w.admin.AccessKeyID, w.admin.SecretKey
		}),
		status: 403,
		code:   "InvalidClientTokenId",
	},
	{row: 84, name: "unknown key", ask: whoamiWith(func(_ *world, c *credential.AWS) {
		c.AccessKeyID, c.SessionToken = "AKIAAAAAAAAAAAAAAAAA", credential.Secret{}
	}), status: 403, code: "InvalidClientTokenId"},
	{
		row:    85,
		name:   "a second before its end",
		ask:    whoamiWith(func(w *world, _ *credential.AWS) { w.advance(time.Hour - time.Second) }),
		status: ok,
	},
	{
		row:     85,
		name:    "expired",
		ask:     whoamiWith(func(w *world, _ *credential.AWS) { w.advance(time.Hour) }),
		status:  403,
		code:    "ExpiredToken",
		message: "The security token included in the request is expired",
	},
	{row: 86, name: "unsigned", ask: func(w *world) answer {
		return w.do(w.request(http.MethodPost, "", "Action=GetCallerIdentity&Version=2011-06-15"))
	}, status: 403, code: "MissingAuthenticationToken"},
	{row: 87, name: "14 min old", ask: signedAt(epoch.Add(-14 * time.Minute)), status: ok},
	{
		row:    87,
		name:   "16 min old",
		ask:    signedAt(epoch.Add(-16 * time.Minute)),
		status: 403,
		code:   "SignatureDoesNotMatch",
		message: "Signature expired: 20260901T114400Z is now earlier than 20260901T114500Z (20260901T120000Z - 15 " +
			"min.)",
	},
	{
		row:    87,
		name:   "16 min ahead",
		ask:    signedAt(epoch.Add(16 * time.Minute)),
		status: 403,
		code:   "SignatureDoesNotMatch",
		message: "Signature not yet current: 20260901T121600Z is still later than 20260901T121500Z " +
			"(20260901T120000Z + 15 min.)",
	},
	{
		row:     87,
		name:    "presigned 16 min ago",
		ask:     func(w *world) answer { return w.presigned("sts", epoch.Add(-16*time.Minute), nil) },
		status:  403,
		code:    "SignatureDoesNotMatch",
		message: "Signature expired: ",
	},
	{
		row:    88,
		name:   "presigned 14 min ago for 60 s",
		ask:    func(w *world) answer { return w.presigned("sts", epoch.Add(-14*time.Minute), nil) },
		status: ok,
		has:    []string{"user/admin"},
	},
	{
		row:    89,
		name:   "a signed header",
		ask:    func(w *world) answer { return w.presigned("sts", epoch, nil) },
		status: ok,
	},
	{row: 89, name: "header changed", ask: func(w *world) answer {
		return w.presigned("sts", epoch, func(r *http.Request) { r.Header.Set("X-K8s-Aws-Id", "other") })
	}, status: 403, code: "SignatureDoesNotMatch", message: "The request signature we calculated"},
	{row: 89, name: "header gone", ask: func(w *world) answer {
		return w.presigned("sts", epoch, func(r *http.Request) { r.Header.Del("X-K8s-Aws-Id") })
	}, status: 403, code: "SignatureDoesNotMatch"},
	{row: 89, name: "in JSON, as clusters' servers ask", ask: func(w *world) answer {
		return w.presigned("sts", epoch.Add(-15*time.Minute), acceptJSON)
	}, status: ok, has: []string{
		`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"arn:aws:iam::111122223333:user/admin",` +
			`"UserId":"AIDA`,
		`"Account":"111122223333"}`,
	}},
	{row: 89, name: "in JSON, for another cluster", ask: func(w *world) answer {
		return w.presigned("sts", epoch, func(r *http.Request) { acceptJSON(r); r.Header.Set("X-K8s-Aws-Id", "other") })
	}, status: 403, has: []string{
		`{"Error":{"Type":"Sender","Code":"SignatureDoesNotMatch","Message":"The request signature we calculated`,
		`"RequestId":"`,
	}},
	{row: 89, name: "in JSON, a second too old", ask: func(w *world) answer {
		return w.presigned("sts", epoch.Add(-15*time.Minute-time.Second), acceptJSON)
	}, status: 403, has: []string{`"Code":"SignatureDoesNotMatch","Message":"Signature expired: `}},
	{row: 90, name: "another service in the scope", ask: func(w *world) answer {
		return w.signed(w.login(), "s3", url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}})
	}, status: 403, code: "SignatureDoesNotMatch", message: "Credential should be scoped to correct service: 'sts'"},
	{
		row:     90,
		name:    "presigned scope",
		ask:     func(w *world) answer { return w.presigned("s3", epoch, nil) },
		status:  403,
		code:    "SignatureDoesNotMatch",
		message: "Credential should be scoped to correct service: 'sts'",
	},
	{row: 91, name: "no signature", ask: func(w *world) answer {
		r := w.request(http.MethodPost, "", "Action=GetCallerIdentity&Version=2011-06-15")
		r.Header.Set("X-Amz-Date", "20260901T120000Z")
		r.Header.Set(
			"Authorization",
			"AWS4-HMAC-SHA256 Credential="+w.admin.AccessKeyID+
				"/20260901/us-east-1/sts/aws4_request, SignedHeaders=host",
		)
		return w.do(r)
	}, status: 400, code: "IncompleteSignature", message: "Authorization header requires 'Signature' parameter."},
	{row: 92, name: "session token for a session", ask: func(w *world) answer {
		return w.signed(w.login(), "sts", url.Values{"Action": {"GetSessionToken"}})
	}, status: 403, code: "AccessDenied", message: "Cannot call GetSessionToken with session credentials"},
	{row: 92, name: "federation token for a session", ask: func(w *world) answer {
		return w.signed(w.login(), "sts", url.Values{"Action": {"GetFederationToken"}, "Name": {"bob"}})
	}, status: 403, code: "AccessDenied", message: "Cannot call GetFederationToken with session credentials"},
	{row: 93, name: "chained for an hour", set: chaining, ask: func(w *world) answer {
		return w.take(w.login(), "chained", "DurationSeconds", "3600")
	}, status: ok, has: []string{":assumed-role/chained/s2<"}},
	{
		row:  93,
		name: "chained for longer",
		set:  chaining,
		ask: func(w *world) answer {
			return w.take(w.login(), "chained", "DurationSeconds", "3601")
		},
		status:  400,
		code:    "ValidationError",
		message: "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
	},
	{
		row:  94,
		name: "a role that trusts nobody",
		set:  func(w *world) { w.role("nobody", openTrust) },
		ask: func(w *world) answer {
			return w.take(w.login(), "nobody")
		},

		status: 403,

		code: "AccessDenied",

		message: "User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: sts:AssumeRole on " +
			"resource: arn:aws:iam::111122223333:role/nobody",
	},
	{
		row:  94,
		name: "a role that is not there",
		ask: func(w *world) answer {
			return w.take(w.login(), "nobody")
		},
		status: 403,
		code:   "AccessDenied",
		message: "User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: sts:AssumeRole on " +
			"resource: arn:aws:iam::111122223333:role/nobody",
	},
	{
		row:  95,
		name: "duplicate tags",
		set:  chaining,
		ask: func(w *world) answer {
			return w.take(
				w.login(), "chained", "Tags.member.1.Key", "a", "Tags.member.1.Value", "1", "Tags.member.2.Key", "A",
				"Tags.member.2.Value", "2",
			)
		},
		status:  400,
		code:    "InvalidParameterValue",
		message: "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
	},
}
