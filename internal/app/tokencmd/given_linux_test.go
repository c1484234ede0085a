package tokencmd_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

// TestInspect: what a token says, without what is secret in it.
func TestInspect(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	made := w.run("-i", "prod", "-r", developer)
	raw := made.answer(t).Status.Token
	jwt := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"one"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(
			[]byte(`{"iss":"https://oidc.example.com","sub":"system:serviceaccount:shop:cart",`+
				`"aud":["sts.amazonaws.com"],"iat":1767322800,"exp":1767326400}`),
		) + ".c2lnbmF0dXJlLXNlY3JldA"
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(raw, "k8s-aws-v1."))
	if err != nil {
		t.Fatal(err)
	}
	_, signature, _ := strings.Cut(string(text), "X-Amz-Signature=")
	secrets := []string{signature, "session-token", raw, "c2lnbmF0dXJlLXNlY3JldA"}
	for _, row := range []struct {
		name, given string
		after       time.Duration
		wants       []string
	}{
		{"token", raw, time.Minute, []string{
			"ASIA1", "temporary", "sts.eu-west-1.amazonaws.com", "eu-west-1",
			"14m0s left", "2026-01-02T03:00:00Z",
		}},
		{"ExecCredential", made.out, time.Minute, []string{"ASIA1"}},
		{"line breaks around it", "\n" + raw + "\n\n", 0, []string{"ASIA1"}},
		{"old", raw, time.Hour, []string{"45m0s ago", "problem", "expired"}},
		{"of the future", raw, -time.Hour, []string{"problem", "future"}},
		{
			"other host", "k8s-aws-v1." +
				base64.RawURLEncoding.EncodeToString([]byte("https://evil.example/?Action=GetCallerIdentity&"+
					"X-Amz-Credential=AKIA")),
			0,
			[]string{"evil.example", "problem", "none: the header"},
		},
		{"JWT", jwt, time.Minute, []string{
			"JWT, RS256, key one", "system:serviceaccount:shop:cart",
			"https://oidc.example.com", "sts.amazonaws.com", "59m0s left",
		}},
		{"old JWT", jwt, 2 * time.Hour, []string{"it has expired"}},
	} {
		for _, format := range []string{"text", "json"} {
			now := w.now
			w.now = w.now.Add(row.after)
			r := w.runWith(t.Context(), row.given, "inspect", "-o", format)
			w.now = now
			if r.err != nil {
				t.Errorf("%s: %v", row.name, r.err)
			}
			for _, want := range row.wants {
				if format == "text" && !strings.Contains(r.out, want) {
					t.Errorf("%s: %q is not in:\n%s", row.name, want, r.out)
				}
			}
			for _, secret := range secrets {
				if strings.Contains(r.out+r.errors, secret) {
					t.Errorf("%s: a secret is in:\n%s", row.name, r.out)
				}
			}
		}
	}
	for name, given := range map[string]string{
		"nothing": "", "words": "hello", "JSON": `{"kind":"Pod"}`, "other version": "k8s-aws-v2.AAAA",
		"half a JWT": "eyJhbGciOiJSUzI1NiJ9.e30",
	} {
		if r := w.runWith(t.Context(), given, "inspect"); fault.ExitCode(r.err) != 1 || r.out != "" {
			t.Errorf("%s: %v", name, r.err)
		}
	}
	if r := w.run("inspect", "\x1b[31mk8s-aws-v1.AA"); r.err == nil || strings.Contains(r.errors, "\x1b") {
		t.Errorf("%q", r.errors)
	}
}

// TestVerify: whose a token is, by STS's word.
func TestVerify(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	raw := w.run("-i", "prod").answer(t).Status.Token
	if r := w.runWith(t.Context(), raw, "verify"); fault.ExitCode(r.err) != 2 {
		t.Errorf("for no cluster: %v", r.err)
	}
	if r := w.runWith(t.Context(), raw, "verify", "-i", "prod", "--partition", "mars"); fault.ExitCode(r.err) != 2 {
		t.Errorf("no such partition: %v", r.err)
	}
	for name, given := range map[string]string{
		"expired": raw, "padded": raw + "==", "nothing": "",
		"JWT": "eyJhbGciOiJSUzI1NiJ9.e30.AA",
	} {
		now := w.now
		if name == "expired" {
			w.now = w.now.Add(time.Hour)
		}
		r := w.runWith(t.Context(), given, "verify", "-i", "prod")
		w.now = now
		if fault.ExitCode(r.err) != 1 || r.out != "" || given != "" && strings.Contains(r.errors, given) {
			t.Errorf("%s: %v", name, r.err)
		}
	}
	if calls := w.asked(); calls["GetCallerIdentity"] != 0 {
		t.Errorf("STS was asked about tokens that no server takes: %v", calls)
	}
}
