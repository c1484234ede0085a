package ssm

import (
	"strings"
	"testing"
)

func FuzzSelector(f *testing.F) {
	for _, text := range []string{"/a/b:3", "a:label", "arn:aws:ssm:us-east-1:1:parameter/a/b:1", ":", "a:0", "a:-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSelector(text, "arn:aws:ssm:us-east-1:1:parameter/")
		if err == nil && (s.version < 0 || strings.Contains(s.name, ":") || (s.version > 0 && s.label != "")) {
			t.Errorf("%q: %+v", text, s)
		}
		if checkName(text) == nil && (len(text) > maxName || strings.Contains(text, ":")) {
			t.Errorf("%q is a name", text)
		}
	})
}

func FuzzInput(f *testing.F) {
	f.Add([]byte(`{"Name":"x","Tags":[{"Key":"a","Value":"b"}]}`))
	f.Add([]byte(`{"Name":1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		var in putInput
		_ = parse(body, &in)
		var described describeInput
		_ = parse(body, &described)
		for _, one := range described.ParameterFilters {
			_ = one.check("Name", "tag:")
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("x", sealToken("x", "/a"))
	f.Fuzz(func(t *testing.T, kind, token string) {
		_, _ = openToken(kind, token)
		if last, err := openToken(kind, sealToken(kind, token)); err != nil || last != token {
			t.Errorf("%q: %q, %v", token, last, err)
		}
	})
}
