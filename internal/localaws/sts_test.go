package localaws_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// user is a new user with one inline policy and, if boundary is not empty, a
// boundary; its key is returned.
func (w *world) user(name, permissions, boundary string) credential.AWS {
	w.t.Helper()
	var made *account.AccessKey
	err := w.accounts.Default().Update(func(state account.State) error {
		user := &account.User{
			Name: name,
			Path: "/",
			ID:   account.NewUserID(),
			Tags: []account.Tag{{Key: "dept", Value: "it"}, {Key: "Team", Value: "blue"}},
		}
		if permissions != "" {
			user.Policies = []account.Document{{Name: "p", Text: permissions}}
		}
		if boundary != "" {
			policy := &account.ManagedPolicy{
				Name:     name + "-limit",
				Path:     "/",
				ID:       account.NewPolicyID(),
				Versions: []account.PolicyVersion{{ID: "v1", Text: boundary, Default: true}},
				Last:     1,
			}
			if err := state.PutPolicy(policy); err != nil {
				return err
			}
			user.Boundary = w.accounts.Default().PolicyARN(policy)
		}
		if err := state.PutUser(user); err != nil {
			return err
		}
		made = w.accounts.Default().NewKey(name, epoch)
		return state.PutKey(made)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return credential.AWS{AccessKeyID: made.ID, SecretKey: made.Secret}
}

// sts is a signed call of STS.
func (w *world) sts(c credential.AWS, action string, pairs ...string) answer {
	w.t.Helper()
	form := url.Values{"Action": {action}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return w.signed(c, "sts", form)
}

func trustingAWS(principal, actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":` +
		actions + `}]}`
}

// TestBothSides: boundary and session policies of the caller limit assuming
// a role, in its own account and in another (spec iam-policy §4.3, §4.4).
func TestBothSides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root, everything, mayTake := "arn:aws:iam::"+accountID+":root", allow(`"*"`, `"*"`), allow(`"sts:*"`, `"*"`)
	users := map[string]credential.AWS{
		"able":    w.user("able", everything, ""),
		"unable":  w.user("unable", allow(`"s3:*"`, `"*"`), ""),
		"bounded": w.user("bounded", everything, allow(`"s3:*"`, `"*"`)),
		"within":  w.user("within", everything, mayTake),
	}
	w.role("account", trustingAWS(root, `"sts:AssumeRole"`))
	w.role(
		"named",
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/able",`+
			`"arn:aws:iam::111122223333:user/unable","arn:aws:iam::111122223333:user/bounded","`+roleR+
			`"]},"Action":"sts:AssumeRole"}]}`,
	)
	w.role("untagged", trustingAWS(root, `"sts:AssumeRole"`))
	other, _ := w.accounts.Find(otherAccount)
	err := other.Update(func(state account.State) error {
		return state.PutRole(&account.Role{
			Name:       "far",
			Path:       "/",
			ID:         account.NewRoleID(),
			MaxSession: 3600,
			Trust:      trustingAWS(root, `["sts:AssumeRole","sts:TagSession"]`),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	far := "arn:aws:iam::" + otherAccount + ":role/far"
	limited := func(document string) credential.AWS {
		w.iam("PutRolePolicy", "RoleName", "R", "PolicyName", "p", "PolicyDocument", everything)
		return credentialsIn(t, w.assume(w.token(w.key, nil), more{"Policy": document}))
	}
	users["session"], users["silent session"] = limited(mayTake), limited(allow(`"s3:*"`, `"*"`))
	denied := func(who, action, role string) string {
		return "User: " + who + " is not authorized to perform: " + action + " on resource: " + role
	}
	const session = "arn:aws:sts::111122223333:assumed-role/R/s1"
	tag := []string{"Tags.member.1.Key", "a", "Tags.member.1.Value", "1"}
	for _, row := range []struct {
		who, role string
		more      []string
		want      string // how the message begins; empty if it is allowed
		because   string
	}{
		{"able", "arn:aws:iam::111122223333:role/account", nil, "", ""},
		{
			who:  "unable",
			role: "arn:aws:iam::111122223333:role/account",
			want: denied(
				"arn:aws:iam::111122223333:user/unable", "sts:AssumeRole", "arn:aws:iam::111122223333:role/account",
			),
			because: "identity-silent",
		},
		{
			who:  "bounded",
			role: "arn:aws:iam::111122223333:role/account",
			want: denied(
				"arn:aws:iam::111122223333:user/bounded", "sts:AssumeRole", "arn:aws:iam::111122223333:role/account",
			),
			because: "boundary-silent",
		},
		{"within", "arn:aws:iam::111122223333:role/account", nil, "", ""},
		{"session", "arn:aws:iam::111122223333:role/account", nil, "", ""},
		{
			who:     "silent session",
			role:    "arn:aws:iam::111122223333:role/account",
			want:    denied(session, "sts:AssumeRole", "arn:aws:iam::111122223333:role/account"),
			because: "session-silent",
		},
		// Who is named by a trust of the same account needs no policy of her own,
		// whatever limits her; a session that is named by its role is limited.
		{"unable", "arn:aws:iam::111122223333:role/named", nil, "", ""},
		{"bounded", "arn:aws:iam::111122223333:role/named", nil, "", ""},
		{
			who:     "silent session",
			role:    "arn:aws:iam::111122223333:role/named",
			want:    denied(session, "sts:AssumeRole", "arn:aws:iam::111122223333:role/named"),
			because: "session-silent",
		},
		{
			who:  "able",
			role: "arn:aws:iam::111122223333:role/untagged",
			more: tag,
			want: denied(
				"arn:aws:iam::111122223333:user/able", "sts:TagSession", "arn:aws:iam::111122223333:role/untagged",
			),
			because: "tag-session-missing:trust",
		},
		{
			who:  "able",
			role: "arn:aws:iam::111122223333:role/untagged",
			more: []string{"SourceIdentity", "me"},
			want: denied(
				"arn:aws:iam::111122223333:user/able", "sts:SetSourceIdentity",
				"arn:aws:iam::111122223333:role/untagged",
			),
			because: "source-identity-missing:trust",
		},
		// Another account: both sides.
		{"able", far, tag, "", ""},
		{"unable", far, nil, denied("arn:aws:iam::111122223333:user/unable", "sts:AssumeRole", far), "identity-silent"},
		{
			who:     "bounded",
			role:    far,
			want:    denied("arn:aws:iam::111122223333:user/bounded", "sts:AssumeRole", far),
			because: "boundary-silent",
		},
		{"silent session", far, nil, denied(session, "sts:AssumeRole", far), "session-silent"},
		{"session", far, nil, "", ""},
	} {
		name := row.who + " takes " + row.role
		got := w.sts(users[row.who], "AssumeRole", append([]string{
			"RoleArn", row.role, "RoleSessionName", "s2",
		}, row.more...)...)
		if row.want == "" {
			w.expect(name, got, 200, "", "")
			continue
		}
		w.expect(name, got, 403, "AccessDenied", row.want)
		if got.message != row.want {
			t.Errorf("%s: %q says more than %q", name, got.message, row.want)
		}
		if reason := w.reason(got); !strings.Contains(reason, `"reason":"`+row.because+`"`) {
			t.Errorf("%s: want %s:\n%s", name, row.because, reason)
		}
	}
}

// TestChain: what goes on from session to session, and what does not (spec
// iam-policy §4.4).
func TestChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"first", "second"} {
		w.role(
			name,
			trustingAWS(
				"arn:aws:iam::"+accountID+":root", `["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`,
			),
		)
	}
	w.role("plain", trustingAWS("arn:aws:iam::"+accountID+":root", `"sts:AssumeRole"`))
	// Each session shows its tags and claims by what it may do.
	probe := func(key, value, action string) string {
		return `{"Effect":"Allow","Action":"sns:` + action + `","Resource":"*","Condition":{"StringEquals":{"` + key +
			`":"` + value + `"}}}`
	}
	permissions := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"},` +
		strings.Join([]string{
			probe("aws:PrincipalTag/team", "red", "Publish"), probe("aws:PrincipalTag/cost", "1", "Subscribe"),
			probe("aws:SourceIdentity", "me", "ListTopics"),
			probe(issuerID+":sub", subject, "CreateTopic"),
			probe("aws:FederatedProvider", provider, "DeleteTopic"),
			probe("aws:MultiFactorAuthPresent", "false", "GetTopicAttributes"),
			`{"Effect":"Allow","Action":"sns:Unsubscribe","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"` +
				issuerID + `:amr":"x"}}}`,
		}, ",") + "]}"
	for _, name := range []string{"R", "first", "second", "plain"} {
		w.iam("PutRolePolicy", "RoleName", name, "PolicyName", "p", "PolicyDocument", permissions)
	}
	probes := []string{
		"Publish", "Subscribe", "ListTopics", "CreateTopic", "DeleteTopic", "GetTopicAttributes", "Unsubscribe",
	}
	check := func(name string, c credential.AWS, want string) {
		t.Helper()
		var may []string
		for _, action := range probes {
			if w.signed(c, "sns", url.Values{
				"Action":  {action},
				"Version": {"2010-03-31"},
			}).status == http.StatusNotImplemented {
				may = append(may, action)
			}
		}
		if got := strings.Join(may, " "); got != want {
			t.Errorf("%s may %s, want %s", name, got, want)
		}
	}
	w.setTrust(carrying)
	login := credentialsIn(t, w.assume(w.token(w.key, edit{
		"amr": []string{"x"},
		tagsKey: edit{
			"principal_tags":      edit{"team": []string{"red"}, "cost": []string{"1"}},
			"transitive_tag_keys": []string{"team"},
		},
		fromKey: "me",
	}), nil))
	check("login", login, "Publish Subscribe ListTopics CreateTopic DeleteTopic Unsubscribe")
	take := func(c credential.AWS, role string, pairs ...string) answer {
		return w.sts(c, "AssumeRole", append([]string{
			"RoleArn",
			"arn:aws:iam::" + accountID + ":role/" + role,
			"RoleSessionName",
			"s2",
		}, pairs...)...)
	}
	got := take(login, "first")
	if !strings.Contains(got.body, "<SourceIdentity>me</SourceIdentity>") ||
		!strings.Contains(got.body, "<PackedPolicySize>") {
		t.Errorf("first: %s", got.body)
	}
	first := credentialsIn(t, got)
	check("first", first, "Publish ListTopics GetTopicAttributes")
	second := credentialsIn(
		t, take(first, "second", "Tags.member.1.Key", "cost", "Tags.member.1.Value", "1", "SourceIdentity", "me"),
	)
	check("second", second, "Publish Subscribe ListTopics GetTopicAttributes")
	const who = "User: arn:aws:sts::111122223333:assumed-role/first/s2 is not authorized to perform: "
	w.expect(
		"another source identity", take(first, "second", "SourceIdentity", "you"), 403, "AccessDenied",
		who+"sts:SetSourceIdentity on resource: arn:aws:iam::111122223333:role/second",
	)
	w.expect(
		"inherited tags need the trust", take(first, "plain"), 403, "AccessDenied",
		who+"sts:TagSession on resource: arn:aws:iam::111122223333:role/plain",
	)
	w.expect(
		"an inherited tag again",
		take(first, "second", "Tags.member.1.Key", "TEAM", "Tags.member.1.Value", "blue"),
		400, "InvalidParameterValue",
		"One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from "+
			"the calling session.",
	)
	w.expect(
		"a transitive key without tag", take(w.admin, "second", "TransitiveTagKeys.member.1", "x"), 400,
		"InvalidParameterValue", "The specified transitive tag key must be included in the requested tags.",
	)
	// A trust sees the login's claims, for a role that its session takes directly.
	w.iam(
		"UpdateAssumeRolePolicy", "RoleName", "second", "PolicyDocument",
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:*",`+
			`"Condition":{"StringEquals":{"`+issuerID+`:sub":"`+subject+`"}}}]}`,
	)
	w.expect("directly", take(login, "second"), 200, "", "")
	w.expect("by another session", take(first, "second"), 403, "AccessDenied", who+"sts:AssumeRole")
}

// TestAssumeRoleParameters are the limits that no policy moves.
func TestAssumeRoleParameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.role("open", trustingAWS("arn:aws:iam::"+accountID+":root", `"sts:*"`))
	tags := func(n, length int) []string {
		var pairs []string
		for i := range n {
			pairs = append(
				pairs, fmt.Sprintf("Tags.member.%d.Key", i+1), fmt.Sprintf("k%d", i),
				fmt.Sprintf("Tags.member.%d.Value", i+1), strings.Repeat("v", length),
			)
		}
		return pairs
	}
	one := func(key, value string) []string {
		return []string{"Tags.member.1.Key", key, "Tags.member.1.Value", value}
	}
	policyOf := func(length int) string {
		fixed := len(allow(`"s3:*"`, `"arn:aws:s3:::"`))
		return allow(`"s3:*"`, `"arn:aws:s3:::`+strings.Repeat("x", length-fixed)+`"`)
	}
	for _, row := range []struct {
		name    string
		pairs   []string
		status  int
		code    string
		message string
	}{
		{"50 tags", tags(50, 10), 200, "", ""},
		{
			name:   "51 tags",
			pairs:  tags(51, 1),
			status: 400,
			code:   "ValidationError",
			message: "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have " +
				"length less than or equal to 50",
		},
		{
			name:    "tags that are too much together",
			pairs:   tags(50, 250),
			status:  400,
			code:    "PackedPolicyTooLarge",
			message: "Packed size of session tags consumes 309% of allotted space.",
		},
		{
			name:   "long key",
			pairs:  one(strings.Repeat("k", 129), ""),
			status: 400,
			code:   "ValidationError",
			message: "1 validation error detected: Value '" + strings.Repeat("k", 129) +
				"' at 'tags.1.member.key' failed to satisfy constraint: Member must have length less than or equal " +
				"to 128",
		},
		{
			name:   "long value",
			pairs:  one("k", strings.Repeat("v", 257)),
			status: 400,
			code:   "ValidationError",
			message: "1 validation error detected: Value at 'tags.1.member.value' failed to satisfy constraint: " +
				"Member must have length less than or equal to 256",
		},
		{"empty value", one("k", ""), 200, "", ""},
		{
			name:   "key with a star",
			pairs:  one("k*", "v"),
			status: 400,
			code:   "ValidationError",
			message: "1 validation error detected: Value 'k*' at 'tags.1.member.key' failed to satisfy constraint: " +
				"Member must satisfy regular expression pattern:",
		},
		{"key of AWS's own", one("aws:k", "v"), 400, "InvalidParameterValue", "Tag keys that begin with aws:"},
		{
			name:   "external id",
			pairs:  []string{"ExternalId", "a b"},
			status: 400,
			code:   "ValidationError",
			message: "1 validation error detected: Value 'a b' at 'externalId' failed to satisfy constraint: Member " +
				"must satisfy regular expression pattern: [\\w+=,.@:\\/-]*",
		},
		{
			name:    "short source identity",
			pairs:   []string{"SourceIdentity", "m"},
			status:  400,
			code:    "ValidationError",
			message: "1 validation error detected: Value 'm' at 'sourceIdentity'",
		},
		{
			name:    "MFA",
			pairs:   []string{"SerialNumber", "arn:aws:iam::111122223333:mfa/admin", "TokenCode", "123456"},
			status:  403,
			code:    "AccessDenied",
			message: "MultiFactorAuthentication failed",
		},
		{
			name:    "MFA code",
			pairs:   []string{"SerialNumber", "arn:aws:iam::111122223333:mfa/admin", "TokenCode", "12345x"},
			status:  400,
			code:    "ValidationError",
			message: "1 validation error detected: Value at 'tokenCode' failed",
		},
		{
			name:    "six contexts",
			pairs:   contexts(6),
			status:  400,
			code:    "ValidationError",
			message: "1 validation error detected: Value at 'providedContexts'",
		},
		{"a context", contexts(1), 400, "ValidationError", "The provided context assertion is invalid."},
		{"policy", []string{"Policy", policyOf(2048)}, 200, "", ""},
		{
			name: "policy and ARN",
			pairs: []string{
				"Policy",
				policyOf(2040),
				"PolicyArns.member.1.arn",
				"arn:aws:iam::aws:policy/ReadOnlyAccess",
			},
			status:  400,
			code:    "PackedPolicyTooLarge",
			message: "Packed policy consumes 102% of allotted space, please use smaller policy.",
		},
		{
			name:    "policy and tags",
			pairs:   append(tags(50, 50), "Policy", policyOf(2000)),
			status:  400,
			code:    "PackedPolicyTooLarge",
			message: "Packed policy consumes ",
		},
		{"policy with a principal", []string{"Policy", trust("")}, 400, "MalformedPolicyDocument", ""},
		{
			name:    "no policy at all",
			pairs:   []string{"Policy", "x"},
			status:  400,
			code:    "MalformedPolicyDocument",
			message: "This policy contains invalid Json",
		},
		{"a list", []string{"Policy", "[]"}, 400, "MalformedPolicyDocument", "Syntax errors in policy."},
		{
			name:    "managed policy that is not there",
			pairs:   []string{"PolicyArns.member.1.arn", "arn:aws:iam::111122223333:policy/none"},
			status:  400,
			code:    "ValidationError",
			message: "arn:aws:iam::111122223333:policy/none is invalid",
		},
		{
			name:    "899 s",
			pairs:   []string{"DurationSeconds", "899"},
			status:  400,
			code:    "ValidationError",
			message: "1 validation error detected: Value '899' at 'durationSeconds'",
		},
		{
			name:    "longer than the role's",
			pairs:   []string{"DurationSeconds", "7200"},
			status:  400,
			code:    "ValidationError",
			message: "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
		},
	} {
		got := w.sts(w.admin, "AssumeRole", append([]string{
			"RoleArn",
			"arn:aws:iam::" + accountID + ":role/open",
			"RoleSessionName",
			"s2",
		}, row.pairs...)...)
		w.expect(row.name, got, row.status, row.code, row.message)
	}
	if plain := w.take(w.admin, "open"); strings.Contains(plain.body, "PackedPolicySize") ||
		strings.Contains(plain.body, "SourceIdentity") {
		t.Errorf("nothing is carried: %s", plain.body)
	}
	w.iam("UpdateRole", "RoleName", "open", "MaxSessionDuration", "43200")
	w.expect("as long as the role's", w.take(w.admin, "open", "DurationSeconds", "43200"), 200, "", "")
	w.expect("too much in a token", w.assume(w.token(w.key, edit{
		tagsKey: edit{"principal_tags": manyTags(51)},
	}), nil), 400, "ValidationError", "1 validation error detected: Value at 'tags'")
}

func contexts(n int) []string {
	var pairs []string
	for i := range n {
		member := fmt.Sprintf("ProvidedContexts.member.%d.", i+1)
		pairs = append(
			pairs, member+"ProviderArn", "arn:aws:iam::aws:contextProvider/IdentityCenter", member+"ContextAssertion",
			"assertion",
		)
	}
	return pairs
}

func manyTags(n int) edit {
	tags := edit{}
	for i := range n {
		tags[fmt.Sprint("k", i)] = []string{"v"}
	}
	return tags
}

// TestSessionToken: a user's own session has the user's permissions, and calls
// little of STS and nothing of IAM.
func TestSessionToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice", allow(`"*"`, `"*"`), "")
	w.role("open", trustingAWS("arn:aws:iam::"+accountID+":user/alice", `"sts:AssumeRole"`))
	got := w.sts(alice, "GetSessionToken")
	if !strings.Contains(got.body, "<GetSessionTokenResult><Credentials><SessionToken>") ||
		!strings.Contains(got.body, "<Expiration>2026-09-02T00:00:00Z</Expiration>") {
		t.Errorf("%s", got.body)
	}
	session := credentialsIn(t, got)
	if who := w.sts(session, "GetCallerIdentity").body; !strings.Contains(
		who, "<Arn>arn:aws:iam::111122223333:user/alice</Arn>",
	) {
		t.Errorf("who: %s", who)
	}
	w.expect("not a chain", w.take(session, "open", "DurationSeconds", "3600"), 200, "", "")
	w.expect(
		"again", w.sts(session, "GetSessionToken"), 403, "AccessDenied",
		"Cannot call GetSessionToken with session credentials",
	)
	w.expect(
		"a key", w.sts(session, "GetAccessKeyInfo", "AccessKeyId", alice.AccessKeyID), 403, "AccessDenied",
		"Cannot call GetAccessKeyInfo with session credentials",
	)
	w.expect(
		"IAM", w.signed(session, "iam", url.Values{"Action": {"ListRoles"}}), 403, "InvalidClientTokenId",
		"The security token included in the request is invalid.",
	)
	w.expect("another service", w.signed(session, "sns", url.Values{
		"Action":  {"ListTopics"},
		"Version": {"2010-03-31"},
	}), 501, "NotImplemented", "allowed, but not emulated")
	w.expect("36 hours", w.sts(alice, "GetSessionToken", "DurationSeconds", "129600"), 200, "", "")
	w.expect(
		"more", w.sts(alice, "GetSessionToken", "DurationSeconds", "129601"), 400, "ValidationError",
		"1 validation error detected: Value '129601' at 'durationSeconds' failed to satisfy constraint: Member must "+
			"have value less than or equal to 129600",
	)
	w.expect(
		"0", w.sts(alice, "GetSessionToken", "DurationSeconds", "0"), 400, "ValidationError",
		"1 validation error detected: Value '0'",
	)
	w.expect(
		"MFA", w.sts(alice, "GetSessionToken", "SerialNumber", "GAHT12345678", "TokenCode", "123456"), 403,
		"AccessDenied", "MultiFactorAuthentication failed",
	)
	if err := w.accounts.Default().Update(func(state account.State) error {
		return state.DeleteUser("alice")
	}); err != nil {
		t.Fatal(err)
	}
	w.expect("the user is gone", w.sts(session, "GetCallerIdentity"), 403, "InvalidClientTokenId", "")
	w.user("alice", allow(`"*"`, `"*"`), "")
	w.expect("another of that name", w.sts(session, "GetCallerIdentity"), 403, "InvalidClientTokenId", "")
}

// TestFederationToken: a federated user has what user and session policies both
// allow, and nothing without session policies.
func TestFederationToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice", allow(`["sns:*","sts:*"]`, `"*"`), "")
	bob := w.user("bob", allow(`["sns:*","sts:GetFederationToken"]`, `"*"`), "")
	nobody := w.user("nobody", allow(`"sns:*"`, `"*"`), "")
	got := w.sts(
		alice, "GetFederationToken", "Name", "fred", "Policy", allow(`["sns:Publish","sqs:*"]`, `"*"`),
		"Tags.member.1.Key", "team", "Tags.member.1.Value", "red",
	)
	for _, part := range []string{
		"<FederatedUserId>111122223333:fred</FederatedUserId>",
		"<Arn>arn:aws:sts::111122223333:federated-user/fred</Arn>",
		"<PackedPolicySize>",
		"<Expiration>2026-09-02T00:00:00Z<",
	} {
		if !strings.Contains(got.body, part) {
			t.Errorf("lacks %s: %s", part, got.body)
		}
	}
	fred := credentialsIn(t, got)
	who := w.sts(fred, "GetCallerIdentity").body
	if !strings.Contains(who, "<Arn>arn:aws:sts::111122223333:federated-user/fred</Arn>") ||
		userID(who) != "111122223333:fred" {
		t.Errorf("who: %s", who)
	}
	ask := func(c credential.AWS, service, action string) answer {
		return w.signed(c, service, url.Values{"Action": {action}, "Version": {"2010-03-31"}})
	}
	const denied = "User: arn:aws:sts::111122223333:federated-user/fred is not authorized to perform: "
	w.expect("both", ask(fred, "sns", "Publish"), 501, "NotImplemented", "allowed")
	w.expect(
		"the user only", ask(fred, "sns", "Subscribe"), 403, "AccessDenied",
		denied+"sns:Subscribe on resource: * because no session policy allows the sns:Subscribe action",
	)
	w.expect(
		"the session only", ask(fred, "sqs", "SendMessage"), 403, "AccessDenied",
		denied+"sqs:SendMessage on resource: * because no identity-based policy allows the sqs:SendMessage action",
	)
	w.expect("IAM", w.signed(fred, "iam", url.Values{"Action": {"ListRoles"}}), 403, "InvalidClientTokenId", "")
	w.role("open", trustingAWS("arn:aws:iam::"+accountID+":root", `"sts:AssumeRole"`))
	w.expect(
		"roles", w.take(fred, "open"), 403, "AccessDenied",
		denied+"sts:AssumeRole on resource: arn:aws:iam::111122223333:role/open",
	)
	w.expect(
		"again", w.sts(fred, "GetFederationToken", "Name", "x1"), 403, "AccessDenied",
		"Cannot call GetFederationToken with session credentials",
	)
	plain := credentialsIn(t, w.sts(alice, "GetFederationToken", "Name", "plain"))
	w.expect("no session policy", ask(plain, "sns", "Publish"), 403, "AccessDenied", "")
	const fredARN = "arn:aws:sts::111122223333:federated-user/fred"
	w.expect(
		"no permission", w.sts(nobody, "GetFederationToken", "Name", "fred"), 403, "AccessDenied",
		"User: arn:aws:iam::111122223333:user/nobody is not authorized to perform: sts:GetFederationToken on "+
			"resource: "+fredARN+" because no identity-based policy allows the sts:GetFederationToken action",
	)
	w.expect(
		"no permission to tag",
		w.sts(bob, "GetFederationToken", "Name", "fred", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"), 403,
		"AccessDenied",
		"User: arn:aws:iam::111122223333:user/bob is not authorized to perform: sts:TagSession on resource: "+fredARN,
	)
	w.expect(
		"name", w.sts(alice, "GetFederationToken", "Name", strings.Repeat("x", 33)), 400, "ValidationError",
		"1 validation error detected: Value '"+strings.Repeat("x", 33)+"' at 'name'",
	)
	w.expect(
		"tags",
		w.sts(
			alice, "GetFederationToken", "Name", "fred", "Tags.member.1.Key", "a", "Tags.member.1.Value", "",
			"Tags.member.2.Key", "A", "Tags.member.2.Value", "",
		),
		400, "InvalidParameterValue", "Duplicate tag keys found.",
	)
	w.expect(
		"policy", w.sts(alice, "GetFederationToken", "Name", "fred", "Policy", "{"), 400, "MalformedPolicyDocument", "",
	)
	w.advance(12 * time.Hour)
	w.expect("expired", w.sts(fred, "GetCallerIdentity"), 403, "ExpiredToken", "")
}

// TestAccessKeyInfo: the account of any key, of every kind.
func TestAccessKeyInfo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, _ := w.accounts.Find(otherAccount)
	theirs, err := other.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		w.admin.AccessKeyID:    accountID,
		theirs.AccessKeyID:     otherAccount,
		w.login().AccessKeyID:  accountID,
		"ASIAQNZGKIQY56JQ7WML": "029608264753",
	} {
		if got := w.sts(
			w.admin, "GetAccessKeyInfo", "AccessKeyId", id,
		); !strings.Contains(got.body, "<Account>"+want+"</Account>") {
			t.Errorf("%s: %s", id, got.body)
		}
	}
	w.expect(
		"none", w.sts(w.admin, "GetAccessKeyInfo", "AccessKeyId", "AKIAIOSFODNN7EXAMPLE"), 400, "ValidationError", "",
	)
	w.expect(
		"short", w.sts(w.admin, "GetAccessKeyInfo", "AccessKeyId", "AKIA"), 400, "ValidationError",
		"1 validation error detected: Value 'AKIA' at 'accessKeyId'",
	)
	w.expect(
		"no permission", w.sts(w.login(), "GetAccessKeyInfo", "AccessKeyId", theirs.AccessKeyID), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: sts:GetAccessKeyInfo on "+
			"resource: *",
	)
}

// TestDecodeAuthorizationMessage: EC2's refusals carry what only the account's
// own callers decode.
func TestDecodeAuthorizationMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user(
		"alice",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"NoStop",`+
			`"Effect":"Deny","Action":["ec2:Stop*","ec2:Describe*"],"Resource":"*",`+
			`"Condition":{"StringEquals":{"aws:PrincipalTag/dept":"it"}}}]}`,
		"",
	)
	ec2 := func(action string) string {
		body := "Action=" + action + "&Version=2016-11-15"
		r := w.request(http.MethodPost, "", body)
		w.sign(r, alice, "ec2", body, w.clock())
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		_, after, _ := strings.Cut(readAll(t, response), "<Message>")
		message, _, _ := strings.Cut(after, "</Message>")
		return message
	}
	const denied = "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: ec2:StopInstances on " +
		"resource: * with an explicit deny in an identity-based policy"
	said, encoded, found := strings.Cut(ec2("StopInstances"), ". Encoded authorization failure message: ")
	if !found || said != "You are not authorized to perform this operation. "+denied {
		t.Fatalf("the refusal says %q", said)
	}
	if said := ec2("DescribeInstances"); strings.Contains(said, "Encoded") {
		t.Errorf("a call that only reads says %q", said)
	}
	got := w.sts(w.admin, "DecodeAuthorizationMessage", "EncodedMessage", encoded).body
	for _, part := range []string{
		`"allowed":false,"explicitDeny":true`, `"statementId":"NoStop","effect":"DENY"`, `{"value":"ec2:Stop*"}`,
		`"arn":"arn:aws:iam::111122223333:user/alice"`, `"id":"AIDA`,
		`"action":"ec2:StopInstances","resource":"*"`, `"key":"aws:principaltag/dept",` +
			`"values":{"items":[{"value":"it"}]}`, `"failures":{"items":[]}`,
	} {
		if !strings.Contains(strings.ReplaceAll(got, "&#34;", `"`), part) {
			t.Errorf("lacks %s:\n%s", part, got)
		}
	}
	other, _ := w.accounts.Find(otherAccount)
	theirs, err := other.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	const code, invalid = "InvalidAuthorizationMessageException", "Message is not valid"
	w.expect(
		"another account", w.sts(theirs, "DecodeAuthorizationMessage", "EncodedMessage", encoded), 400, code, invalid,
	)
	w.expect(
		"with a line break", w.sts(w.admin, "DecodeAuthorizationMessage", "EncodedMessage", encoded+"\n"), 400, code,
		invalid,
	)
	w.expect("altered", w.sts(w.admin, "DecodeAuthorizationMessage", "EncodedMessage", encoded[1:]), 400, code, invalid)
	w.expect(
		"none", w.sts(w.admin, "DecodeAuthorizationMessage"), 400, "ValidationError",
		"1 validation error detected: Value null at 'encodedMessage'",
	)
	w.expect(
		"no permission", w.sts(w.login(), "DecodeAuthorizationMessage", "EncodedMessage", encoded), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: "+
			"sts:DecodeAuthorizationMessage on resource: *",
	)
}
