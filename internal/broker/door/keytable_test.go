package door

import (
	"strings"
	"testing"
)

// FuzzKeyTable: a table is read whole or not at all, and each key stands for
// somebody.
func FuzzKeyTable(f *testing.F) {
	for _, seed := range []string{
		"keys: [{accessKeyId: A, secretAccessKey: s, node: n1}]",
		"keys: [{accessKeyId: A, secretAccessKey: s, user: u, groups: [g]}]", "keys: [{accessKeyId: A}]",
		"keys: [{accessKeyId: A, secretAccessKey: s, node: a}, {accessKeyId: A, secretAccessKey: s, node: b}]",
		"keys: [{accessKeyId: A, secretAccessKey: s, nod: a}]", "", "[",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeyTable(text)
		for id, key := range keys {
			if err != nil || id == "" || key.AccessKeyID != id || key.Node == "" && key.User == "" {
				t.Errorf("%q: %+v, %v", text, key, err)
			}
		}
	})
}

func TestKeyTableRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, keys, want string }{
		{"nobody's", "{accessKeyId: A, secretAccessKey: hidden}", "want a node or a user"},
		{"a misspelt member", "{accessKeyId: A, secretAccessKey: hidden, nod: n1}", "not the YAML"},
		{"no id", "{secretAccessKey: hidden, node: n1}", "are required"},
		{"groups of a node", "{accessKeyId: A, secretAccessKey: hidden, node: n1, groups: [g]}", "groups want a user"},
		{
			"a key twice",
			"{accessKeyId: A, secretAccessKey: hidden, node: n1}, {accessKeyId: A, secretAccessKey: hidden, node: n2}",
			"twice",
		},
		{
			"a member twice",
			"{accessKeyId: A, secretAccessKey: hidden, node: n1}, " +
				"{accessKeyId: B, secretAccessKey: hidden, secretAccessKey: x, node: b}",
			"not the YAML",
		},
	} {
		keys, err := parseKeyTable([]byte("keys: [" + row.keys + "]"))
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v, %v; want %q", row.name, keys, err, row.want)
		}
	}
}
