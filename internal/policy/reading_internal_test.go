package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDepthOfDocuments counts objects and lists alike.
func TestDepthOfDocuments(t *testing.T) {
	t.Parallel()
	for name, form := range map[string][2]string{"lists": {"[", "]"}, "objects": {`{"a":`, "}"}} {
		for depth, read := range map[int]bool{maxDepth: true, maxDepth + 1: false} {
			text := strings.Repeat(form[0], depth) + "1" + strings.Repeat(form[1], depth)
			if _, _, err := readNodes([]byte(text)); (err == nil) != read {
				t.Errorf("%d %s: %v", depth, name, err)
			}
		}
	}
}

// TestPlaceOfBrokenJSON is where the reader stopped, or the end.
func TestPlaceOfBrokenJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "x": 0, "{x": 1, `{"a"`: 3, `{"a":1} x`: 8} {
		if _, at, err := readNodes([]byte(text)); err == nil || at != want {
			t.Errorf("%q: at %d, %v, want %d", text, at, err, want)
		}
	}
}

// TestWordsAndTexts: what is read of a document, at its end too.
func TestWordsAndTexts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"5":          "5",
		"true":       "true",
		`"é"`:        "é",
		`"a\u0080"`:  "a\u0080",
		`"a\"b"`:     `a"b`,
		"\"a\x7f\"":  "a\x7f",
		"\"a\xff\"":  "a\ufffd",
		"\"\u0080\"": "\u0080",
		"\"\xff\"":   "\ufffd",
		"\"\x80\"":   "\ufffd",
	} {
		root, at, err := readNodes([]byte(text))
		if err != nil || root.text != want || at != len(text) {
			t.Errorf("%q: %+v up to %d, %v, want %q", text, root, at, err, want)
		}
	}
}

// TestWordsEnd where something else begins.
func TestWordsEnd(t *testing.T) {
	t.Parallel()
	for _, end := range []string{" ", "\t", "\r", "\n", ",6", " ,6", "]"} {
		text := "[5" + strings.TrimSuffix(end, "]") + "]"
		root, _, err := readNodes([]byte(text))
		if err != nil || root.items[0].text != "5" {
			t.Errorf("%q: %+v, %v", text, root, err)
		}
	}
	root, _, err := readNodes([]byte(`{"a":true }`))
	if err != nil || root.find("a").text != "true" {
		t.Errorf("%+v, %v", root, err)
	}
}

// TestStatementsAsWritten: principals and conditions, and whether there is a list.
func TestStatementsAsWritten(t *testing.T) {
	t.Parallel()
	const one = `{"Sid":"s","Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"s3:*","Resource":"*",` +
		`"Condition":{"StringEquals":{"a:B":["c","d"]}}}`
	for text, wantListed := range map[string]bool{
		`{"Statement":` + one + `}`:   false,
		`{"Statement":[` + one + `]}`: true,
	} {
		p, err := Parse(Resource, "p", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, listed := p.Statements()
		start := strings.Index(text, one)
		want := []Statement{{
			Sid:          "s",
			NotPrincipal: true,
			Principals:   []NamedPrincipal{{"AWS", "111122223333"}},
			Conditions:   []NamedCondition{{"StringEquals", "a:B", []string{"c", "d"}}},
			Start:        start,
			End:          start + len(one),
		}}
		if diff := cmp.Diff(want, got); diff != "" || listed != wantListed {
			t.Errorf("listed %t, want %t (-want +got):\n%s", listed, wantListed, diff)
		}
	}
	p, err := Parse(Identity, "p", []byte(`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, listed := p.Statements(); len(got) != 1 || got[0].Principals != nil || listed {
		t.Errorf("without a principal: %+v, listed %t", got, listed)
	}
}

// TestPartlyDenied: a Deny counts if it has a resource in common with what is asked
// for, and a NotResource if nothing else allows all of it.
func TestPartlyDenied(t *testing.T) {
	t.Parallel()
	const all, rest = `{"Effect":"Allow","Action":"*","Resource":"*"}`, `"Action":"s3:*",`
	deny := func(element string) string { return `{"Effect":"Deny",` + rest + element + `}` }
	for _, row := range []struct {
		name, resource string
		statements     []string
		want           string // patterns
	}{
		{
			name:       "a Deny of a part",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{all, deny(`"Resource":"arn:aws:s3:::b/secret"`)},
			want:       "arn:aws:s3:::b/secret",
		},
		{"a Deny of another bucket", "arn:aws:s3:::b/*", []string{all, deny(`"Resource":"arn:aws:s3:::c/*"`)}, ""},
		{
			name:       "a Deny of two",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{all, deny(`"Resource":["arn:aws:s3:::b/x","arn:aws:s3:::b/y"]`)},
			want:       "arn:aws:s3:::b/x arn:aws:s3:::b/y",
		},
		{"a Deny, and one resource", "arn:aws:s3:::b/k", []string{all, deny(`"Resource":"arn:aws:s3:::b/secret"`)}, ""},
		{
			name:       "a Deny, and everything",
			resource:   "*",
			statements: []string{all, deny(`"Resource":"arn:aws:s3:::b/secret"`)},
			want:       "arn:aws:s3:::b/secret",
		},
		{
			name:       "a Deny with a variable",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{all, deny(`"Resource":"arn:aws:s3:::b/${aws:username}"`)},
			want:       "arn:aws:s3:::b/${aws:username}",
		},
		{
			name:       "a Deny with a variable, and everything",
			resource:   "*",
			statements: []string{all, deny(`"Resource":"arn:aws:s3:::b/${aws:username}"`)},
			want:       "arn:aws:s3:::b/${aws:username}",
		},
		{
			name:       "a Deny with a variable that has no value",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{all, deny(`"Resource":"arn:aws:s3:::b/${aws:PrincipalTag/t}"`)},
		},
		{
			name:       "a Deny of another action",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{all, strings.Replace(deny(`"Resource":"arn:aws:s3:::b/x"`), "s3:*", "ec2:*", 1)},
		},
		{
			name:       "a Deny of all that is asked for",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{all, deny(`"Resource":"arn:aws:s3:*"`), deny(`"Resource":"arn:aws:sqs:*"`)},
		},
		{
			name:       "what an Allow leaves out",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{`{"Effect":"Allow",` + rest + `"NotResource":"arn:aws:s3:::b/x"}`},
			want:       "arn:aws:s3:::b/x",
		},
		{
			name:       "what an Allow leaves out, and another allows",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{`{"Effect":"Allow",` + rest + `"NotResource":"arn:aws:s3:::b/x"}`, all},
		},
		{"what an Allow leaves out, and another that leaves out", "arn:aws:s3:::b/*", []string{
			`{"Effect":"Allow",` + rest + `"NotResource":"arn:aws:s3:::b/x"}`,
			`{"Effect":"Allow",` + rest + `"NotResource":"arn:aws:s3:::b/y"}`,
		}, "arn:aws:s3:::b/x arn:aws:s3:::b/y"},
		{
			name:       "an Allow of a part beside one of all",
			resource:   "arn:aws:s3:::b/*",
			statements: []string{all, `{"Effect":"Allow",` + rest + `"Resource":"arn:aws:s3:::b/x"}`},
		},
		{"nothing is allowed", "arn:aws:s3:::b/*", []string{deny(`"Resource":"arn:aws:s3:::b/x"`)}, ""},
	} {
		p, err := Parse(Identity, "p",
			[]byte(`{"Version":"2012-10-17","Statement":[`+strings.Join(row.statements, ",")+`]}`))
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		alice := Principal{
			Kind:     User,
			ARN:      "arn:aws:iam::111122223333:user/alice",
			UserName: "alice",
			Account:  "111122223333",
		}
		e := Explain(&Request{
			Principal: alice,
			Action:    "s3:GetObject",
			Resource:  row.resource,
		}, &Policies{Identity: []*Policy{p}})
		var got []string
		for _, one := range e.PartlyDenied {
			got = append(got, one.Pattern)
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}
