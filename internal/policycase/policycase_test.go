package policycase_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/policycase"
)

func TestPrincipalOf(t *testing.T) {
	t.Parallel()
	const account = "111122223333"
	for text, want := range map[string]policy.Principal{
		"arn:aws:iam::111122223333:root": {
			Kind:    policy.Root,
			Account: account,
			UserID:  account,
		},
		"arn:aws:iam::111122223333:user/team/alice": {
			Kind:     policy.User,
			Account:  account,
			UserName: "alice",
		},
		"arn:aws:iam::111122223333:role/team/app": {
			Kind:    policy.RoleSession,
			Account: account,
			ARN:     "arn:aws:sts::111122223333:assumed-role/app/session",
			RoleARN: "arn:aws:iam::111122223333:role/team/app",
		},
		"arn:aws:sts::111122223333:assumed-role/app/s": {
			Kind:            policy.RoleSession,
			Account:         account,
			RoleARN:         "arn:aws:iam::111122223333:role/app",
			RolePathUnknown: true,
		},
		"arn:aws:sts::111122223333:federated-user/bob": {
			Kind:    policy.FederatedUser,
			Account: account,
			UserID:  account + ":bob",
			UserARN: "arn:aws:iam::111122223333:user/bob",
		},
		"arn:aws:iam::111122223333:oidc-provider/oidc.example/x": {
			Kind:    policy.WebIdentity,
			Account: account,
			UserID:  "arn:aws:iam::111122223333:oidc-provider/oidc.example/x",
		},
		"pods.eks.amazonaws.com":         {Kind: policy.Service},
		"cognito-identity.amazonaws.com": {Kind: policy.WebIdentity, UserID: "cognito-identity.amazonaws.com"},
	} {
		if want.ARN == "" {
			want.ARN = text
		}
		got, err := policycase.PrincipalOf(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for _, text := range []string{
		"", "alice", "arn:aws:iam::111122223333:user/", "arn:aws:s3:::bucket",
		"arn:aws:sts::111122223333:assumed-role/app", "arn:aws:iam::111122223333:group/g",
	} {
		if p, err := policycase.PrincipalOf(text); err == nil {
			t.Errorf("%q is taken for %+v", text, p)
		}
	}
}

// TestConformance decides the cases that are kept as data.
func TestConformance(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../test/conformance/policy/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of cases: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := policycase.Parse(text)
		if err != nil || len(cases) == 0 {
			t.Fatalf("%s: %d cases, %v", file, len(cases), err)
		}
		var decider policycase.Decider
		for i := range cases {
			if verdict := decider.Decide(cases[i]); !verdict.Holds || verdict.Expect == "" {
				t.Errorf("%s: %s: %+v", file, cases[i].Name, verdict)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"cases":[{"name":"a","request":{"principal":"arn:aws:iam::111122223333:user/a","action":"s3:A",` +
		`"resource":"*","context":{"k":["v"]}},"policies":{"session":[],"scp":[[]]},"expect":"ImplicitDeny"}]}`))
	f.Add([]byte(`{"cases":[{"request":{"principal":{"type":"Anonymous"}}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		cases, err := policycase.Parse(text)
		if err != nil {
			return
		}
		for i := range cases {
			decider := policycase.Decider{Explain: true}
			first := decider.Decide(cases[i])
			if second := decider.Decide(cases[i]); first != second {
				t.Errorf("two answers: %+v, %+v", first, second)
			}
		}
	})
}

// BenchmarkBatch reads and decides 100,000 cases, as can --cases does: of one
// document, and each of its own.
func BenchmarkBatch(b *testing.B) {
	b.Run("one document", func(b *testing.B) { benchmarkBatch(b, func(int) string { return "bkt" }) })
	b.Run("own documents", func(b *testing.B) { benchmarkBatch(b, func(i int) string { return fmt.Sprint("bkt", i) }) })
}

func benchmarkBatch(b *testing.B, bucket func(int) string) {
	var text bytes.Buffer
	text.WriteString(`{"cases":[`)
	for i := range 100_000 {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text,
			`{"name":"c%d","request":{"principal":"arn:aws:iam::111122223333:user/u%d","action":"s3:GetObject",`+
				`"resource":"arn:aws:s3:::%[3]s/k","resourceAccount":"111122223333","context":{`+
				`"aws:SourceIp":"10.0.0.1"}},`+
				`"policies":{"identity":[{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*",`+
				`"s3:List*"],"Resource":["arn:aws:s3:::%[3]s","arn:aws:s3:::%[3]s/*"],"Condition":{"IpAddress":{`+
				`"aws:SourceIp":"10.0.0.0/8"}}}]}]},"expect":"Allowed"}`, i, i%100, bucket(i))
	}
	text.WriteString(`]}`)
	b.ReportAllocs()
	for b.Loop() {
		cases, err := policycase.Parse(text.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		var decider policycase.Decider
		for _, one := range cases {
			if !decider.Decide(one).Holds {
				b.Fatal(one.Name)
			}
		}
	}
}
