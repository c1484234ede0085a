package callerid_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

func presigned(t testing.TB, host string) *callerid.Presigned {
	t.Helper()
	p, err := callerid.Parse(callerid.Encode("https://"+host+"/?"+query()+"&X-Amz-Credential=ASIAEXAMPLE%2Fx"),
		policy("aws"), now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func answerOf(arn, account, userID string) string {
	text, _ := json.Marshal(map[string]any{"GetCallerIdentityResponse": map[string]any{
		"GetCallerIdentityResult": map[string]string{
			"Account": account,
			"Arn":     arn,
			"UserId":  userID,
		}, "ResponseMetadata": map[string]string{"RequestId": "r"},
	}})
	return string(text)
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	const id = "123456789012"
	for _, row := range []struct {
		row, arn, account, userID string
		want                      callerid.Identity
	}{
		{
			row:     "a user (spec authenticator row T1)",
			arn:     "arn:aws:iam::" + id + ":user/Alice",
			account: id,
			userID:  "AIDAX",
			want: callerid.Identity{
				Kind:         callerid.User,
				CanonicalARN: "arn:aws:iam::" + id + ":user/Alice",
				UserID:       "AIDAX",
			},
		},
		{
			row:     "a user keeps the path",
			arn:     "arn:aws:iam::" + id + ":user/ops/Alice",
			account: id,
			userID:  "AIDAX",
			want: callerid.Identity{
				Kind:         callerid.User,
				CanonicalARN: "arn:aws:iam::" + id + ":user/ops/Alice",
				UserID:       "AIDAX",
			},
		},
		{
			row:     "a session (spec authenticator row T48)",
			arn:     "arn:aws:sts::" + id + ":assumed-role/Admin/alice",
			account: id,
			userID:  "AROAX:alice",
			want: callerid.Identity{
				Kind:         callerid.AssumedRole,
				CanonicalARN: "arn:aws:iam::" + id + ":role/Admin",
				UserID:       "AROAX",
				SessionName:  "alice",
			},
		},
		{
			row:     "a session of a role with a path (spec authenticator row T49)",
			arn:     "arn:aws:sts::" + id + ":assumed-role/Org/Team/Admin/S",
			account: id,
			userID:  "AROAX:S",
			want: callerid.Identity{
				Kind:         callerid.AssumedRole,
				CanonicalARN: "arn:aws:iam::" + id + ":role/Org/Team/Admin",
				UserID:       "AROAX",
				SessionName:  "S",
			},
		},
		{
			row:     "a federated user (spec authenticator row T52)",
			arn:     "arn:aws:sts::" + id + ":federated-user/Bob",
			account: id,
			userID:  id + ":Bob",
			want: callerid.Identity{
				Kind:         callerid.FederatedUser,
				CanonicalARN: "arn:aws:sts::" + id + ":federated-user/Bob",
				UserID:       id + ":Bob",
			},
		},
		{
			row:     "a root user (spec authenticator row T53)",
			arn:     "arn:aws:iam::" + id + ":root",
			account: id,
			userID:  id,
			want:    callerid.Identity{Kind: callerid.Root, CanonicalARN: "arn:aws:iam::" + id + ":root", UserID: id},
		},
		{
			row:     "a role, of upstream's tests",
			arn:     "arn:aws:iam::0123456789012:role/x",
			account: "0123456789012",
			userID:  "AROAX:s",
			want: callerid.Identity{
				Kind:         callerid.Role,
				CanonicalARN: "arn:aws:iam::0123456789012:role/x",
				UserID:       "AROAX",
				SessionName:  "s",
			},
		},
	} {
		t.Run(row.row, func(t *testing.T) {
			t.Parallel()
			got, err := callerid.ReadAnswer(presigned(t, "sts.us-east-1.amazonaws.com"), http.StatusOK,
				[]byte(answerOf(row.arn, row.account, row.userID)))
			row.want.ARN, row.want.AccountID = row.arn, row.account
			row.want.AccessKeyID, row.want.STSEndpoint = "ASIAEXAMPLE", "sts.us-east-1.amazonaws.com"
			if diff := cmp.Diff(&row.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestRefusedAnswers(t *testing.T) {
	t.Parallel()
	const (
		id       = "123456789012"
		failed   = "sts getCallerIdentity failed: "
		admin    = "arn:aws:sts::" + id + ":assumed-role/Admin/alice"
		throttle = "sts getCallerIdentity was throttled: "
	)
	ok := answerOf(admin, id, "AROAX:alice")
	for _, row := range []struct {
		row      string
		status   int
		body     string
		kind     fault.Kind
		fragment string
	}{
		{
			row:    "a wrong signature (spec authenticator row T40)",
			status: 403,
			body: `{"Error":{"Type":"Sender","Code":"SignatureDoesNotMatch","Message":"The request signature we ` +
				`calculated"},"RequestId":"r1"}`,
			kind: fault.Denied,
			fragment: failed +
				"error from AWS (expected 200, got 403) on us-east-1 endpoint. Body: SignatureDoesNotMatch: The " +
				"request signature we calculated (request r1)",
		},
		{"a redirect (spec authenticator row T42)", 302, "", fault.Denied, "(expected 200, got 302)"},
		{
			row:      "throttled (spec authenticator row T43)",
			status:   400,
			body:     `{"Error":{"Code":"Throttling","Message":"Rate exceeded","Type":"Sender"},"RequestId":"r1"}`,
			kind:     fault.Throttled,
			fragment: throttle + "Throttling: Rate exceeded (request r1)",
		},
		{
			row:      "throttled, in upstream's words (spec authenticator row T43)",
			status:   400,
			body:     `{\"Error\":{\"Code\":\"Throttling\"`,
			kind:     fault.Throttled,
			fragment: throttle,
		},
		{
			row:      "throttled by an exception (spec authenticator row T43)",
			status:   400,
			body:     `{"Error":{"Code":"ThrottlingException"}}`,
			kind:     fault.Throttled,
			fragment: throttle,
		},
		{"RequestLimitExceeded", 400, `{"Error":{"Code":"RequestLimitExceeded"}}`, fault.Throttled, throttle},
		{"TooManyRequestsException", 400, `{"Error":{"Code":"TooManyRequestsException"}}`, fault.Throttled, throttle},
		{"busy (spec authenticator row T44)", 503, "busy", fault.Throttled, throttle},
		{"too many requests", 429, "", fault.Throttled, throttle},
		{"an internal error", 500, "", fault.Unavailable, failed + "error from AWS (expected 200, got 500)"},
		{"XML (spec authenticator row T46)", 200, "<GetCallerIdentityResponse/>", fault.Denied, failed},
		{"an empty answer (spec authenticator row T46)", 200, "", fault.Denied, failed},
		{"an empty object (spec authenticator row T47)", 200, "{}", fault.Denied, "arn '' is invalid"},
		{"null", 200, "null", fault.Denied, failed},
		{
			row:      "members of other kinds",
			status:   200,
			body:     `{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":1,"Arn":null,"UserId":[]}}}`,
			kind:     fault.Denied,
			fragment: "arn '' is invalid",
		},
		{"another case", 200, strings.Replace(ok, `"Arn"`, `"arn"`, 1), fault.Denied, "arn '' is invalid"},
		{"two values", 200, ok + "{}", fault.Denied, failed + "the answer cannot be read"},
		{
			row:      "a member twice",
			status:   200,
			body:     strings.Replace(ok, `"Arn"`, `"Arn":"arn:aws:iam::`+id+`:root","Arn"`, 1),
			kind:     fault.Denied,
			fragment: "a member is repeated",
		},
		{
			row:      "a member twice, spelt otherwise",
			status:   200,
			body:     strings.Replace(ok, `"Arn"`, `"\u0041rn":"arn:aws:iam::`+id+`:root","Arn"`, 1),
			kind:     fault.Denied,
			fragment: "a member is repeated",
		},
		{"too long", 200, ok + strings.Repeat(" ", 64<<10), fault.Denied, "longer than 65536 bytes"},
		{
			row:      "a session without a name (spec authenticator row T50)",
			status:   200,
			body:     answerOf("arn:aws:sts::"+id+":assumed-role/Admin", id, "AROAX:alice"),
			kind:     fault.Denied,
			fragment: "does not have a role",
		},
		{
			row:      "no session",
			status:   200,
			body:     answerOf("arn:aws:sts::"+id+":assumed-role/Admin/", id, "AROAX:alice"),
			kind:     fault.Denied,
			fragment: "it names nobody",
		},
		{
			row:      "no role",
			status:   200,
			body:     answerOf("arn:aws:sts::"+id+":assumed-role//alice", id, "AROAX:alice"),
			kind:     fault.Denied,
			fragment: "it names nobody",
		},
		{
			row:      "a user id of three parts (spec authenticator row T51)",
			status:   200,
			body:     answerOf("arn:aws:iam::"+id+":role/x", id, "not:vailid:userid"),
			kind:     fault.Denied,
			fragment: "malformed UserID",
		},
		{"one part", 200, answerOf(admin, id, "AROAX"), fault.Denied, "malformed UserID"},
		{"no id", 200, answerOf(admin, id, ":alice"), fault.Denied, "malformed UserID"},
		{"no user id", 200, answerOf("arn:aws:iam::"+id+":root", id, ""), fault.Denied, "malformed UserID"},
		{
			row:      "another partition (spec authenticator row T54)",
			status:   200,
			body:     answerOf("arn:aws-cn:sts::"+id+":assumed-role/Admin/alice", id, "AROAX:alice"),
			kind:     fault.Denied,
			fragment: "it is not of partition aws",
		},
		{
			row:      "no such partition",
			status:   200,
			body:     answerOf("arn:moon:sts::"+id+":assumed-role/Admin/alice", id, "AROAX:alice"),
			kind:     fault.Denied,
			fragment: "its partition is not known",
		},
		{
			row:      "another account (spec authenticator row T55)",
			status:   200,
			body:     answerOf(admin, "999999999999", "AROAX:alice"),
			kind:     fault.Denied,
			fragment: "another account",
		},
		{"no account", 200, answerOf("arn:aws:iam:::user/x", "", "AIDAX"), fault.Denied, "want an account"},
		{"no account beside", 200, answerOf(admin, "", "AROAX:alice"), fault.Denied, "another account"},
		{"another service", 200, answerOf("arn:aws:s3::"+id+":user/x", id, "AIDAX"), fault.Denied, "it is not a user"},
		{
			row:      "another resource",
			status:   200,
			body:     answerOf("arn:aws:iam::"+id+":group/x", id, "AIDAX"),
			kind:     fault.Denied,
			fragment: "it is not a user",
		},
		{
			row:      "assumed-role of iam",
			status:   200,
			body:     answerOf("arn:aws:iam::"+id+":assumed-role/a/b", id, "AROAX:b"),
			kind:     fault.Denied,
			fragment: "it is not a user",
		},
		{
			row:      "a user without name",
			status:   200,
			body:     answerOf("arn:aws:iam::"+id+":user/", id, "AIDAX"),
			kind:     fault.Denied,
			fragment: "it names nobody",
		},
		{
			row:    "words of the request in what STS says",
			status: 400,
			body: `{"Error":{"Code":"IncompleteSignature","Message":"Credential must have exactly 5 slash-delimited elements, ` +
				`e.g. keyid/date/region/service/term, got 'Throttling'","Type":"Sender"},"RequestId":"r1"}`,
			kind:     fault.Denied,
			fragment: "IncompleteSignature",
		},
		{"no ARN", 200, answerOf("Admin", id, "AROAX:alice"), fault.Denied, "arn 'Admin' is invalid"},
	} {
		t.Run(row.row, func(t *testing.T) {
			t.Parallel()
			who, err := callerid.ReadAnswer(presigned(t, "sts.us-east-1.amazonaws.com"), row.status, []byte(row.body))
			if err == nil || fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.fragment) {
				t.Errorf("%+v, %v (kind %d), want kind %d %s", who, err, fault.KindOf(err), row.kind, row.fragment)
			}
		})
	}
}

// TestAnswersNeverShowTheToken: STS says what should have been signed, session
// token and all.
func TestAnswersNeverShowTheToken(t *testing.T) {
	t.Parallel()
	const text = "The request signature we calculated does not match.\\n\\nThe Canonical String for this request " +
		"should have been\\n'GET\\n/\\nX-Amz-Security-Token=FQoGZXIv"
	for _, body := range []string{
		`{"Error":{"Code":"SignatureDoesNotMatch","Message":"` + text + `"},"RequestId":"r"}`,
		`{"Error":{"Code":"SignatureDoesNotMatch","Message":"` + text + `"},"RequestId":"r"`,
		"FQoGZXIv",
		`{"Error":{"Message":"FQoGZXIv"}}`,
	} {
		_, err := callerid.ReadAnswer(presigned(t, "sts.amazonaws.com"), http.StatusForbidden, []byte(body))
		if err == nil || strings.Contains(err.Error(), "FQoG") ||
			!strings.Contains(err.Error(), "on global endpoint") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v", err)
		}
	}
	for _, body := range []string{`{"GetCallerIdentityResponse":"FQoGZXIv`, `{"FQoGZXIv":FQoGZXIv}`, "FQoGZXIv"} {
		_, err := callerid.ReadAnswer(presigned(t, "sts.amazonaws.com"), http.StatusOK, []byte(body))
		if err == nil || strings.Contains(err.Error(), "FQoG") {
			t.Errorf("an answer that cannot be read: %v", err)
		}
	}
	_, err := callerid.ReadAnswer(presigned(t, "sts.amazonaws.com"), http.StatusForbidden,
		[]byte(`{"Error":{"Code":"X","Message":"`+strings.Repeat("m", 5000)+`"}}`))
	if len(err.Error()) > 600 {
		t.Errorf("%d bytes: %v", len(err.Error()), err)
	}
}

// FuzzReadAnswer: who is let in is in the partition and account that the answer
// names, and an answer that is no 200 lets nobody in.
func FuzzReadAnswer(f *testing.F) {
	f.Add(200, answerOf("arn:aws:sts::123456789012:assumed-role/Admin/alice", "123456789012", "AROAX:alice"))
	f.Add(200, answerOf("arn:aws:iam::123456789012:root", "123456789012", "123456789012"))
	f.Add(403, `{"Error":{"Code":"SignatureDoesNotMatch","Message":"x\ny"},"RequestId":"r1"}`)
	f.Add(200, `{"GetCallerIdentityResponse":null}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		who, err := callerid.ReadAnswer(presigned(t, "sts.us-east-1.amazonaws.com"), status, []byte(body))
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Denied && kind != fault.Throttled && kind != fault.Unavailable {
				t.Errorf("%v (kind %d)", err, kind)
			}
			return
		}
		if status != http.StatusOK || who.UserID == "" || who.AccountID == "" ||
			!strings.HasPrefix(who.CanonicalARN, "arn:aws:") ||
			!strings.Contains(who.CanonicalARN, "::"+who.AccountID+":") || !json.Valid([]byte(body)) {
			t.Errorf("%d %q: %+v", status, body, who)
		}
	})
}
