package inspect_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/token"
)

// beside adds the entry of a key to what is published, with members changed.
func beside(t *testing.T, key token.PublicKey, change map[string]any) func(*inspect.Observation) {
	return func(o *inspect.Observation) {
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(o.JWKS.Text, &set); err != nil {
			t.Fatal(err)
		}
		entry := entryOf(t, documents(t, key))
		maps.Copy(entry, change)
		maps.DeleteFunc(entry, func(_ string, value any) bool { return value == nil })
		o.JWKS.Text = jwksOf(t, append(set.Keys, entry)...)
	}
}

// TestUnserved: a key that is published is an API server's, or a rotation names it; with
// another one that is there, tokens can be minted.
func TestUnserved(t *testing.T) {
	t.Parallel()
	_, stranger := newKey(t)
	_, chosen := newKey(t)
	both := func(changes ...func(*inspect.Observation)) func(*inspect.Observation) {
		return func(o *inspect.Observation) {
			for _, change := range changes {
				change(o)
			}
		}
	}
	serve := func(key token.PublicKey) func(*inspect.Observation) {
		return func(o *inspect.Observation) { o.Servers[0].Keys = append(o.Servers[0].Keys, key) }
	}
	named := func(kids ...string) func(*inspect.Observation) {
		return func(o *inspect.Observation) { o.Rotation = kids }
	}
	leaked := func(kids ...string) func(*inspect.Observation) {
		return func(o *inspect.Observation) { o.Leaked = kids }
	}
	down := func(o *inspect.Observation) { o.Servers = []inspect.ServerKeys{{Name: "a", Err: "refused"}} }
	oneDown := func(o *inspect.Observation) {
		o.Servers = append(o.Servers, inspect.ServerKeys{Name: "far", Err: "refused"})
	}
	nobody := func(o *inspect.Observation) { o.Servers = nil }
	foreign := beside(t, stranger, nil)
	for _, row := range []struct {
		name  string
		spoil func(*inspect.Observation)
		want  []string // rules of all but notes
		says  string
	}{
		{"a stranger's", foreign, []string{"unserved-key"}, "key " + stranger.ID + " is published, but no API server"},
		{"of a rotation", both(foreign, named(stranger.ID)), nil, ""},
		{"of another rotation", both(foreign, named(chosen.ID)), []string{"unserved-key"}, stranger.ID},
		{
			"a rotation that cannot be read", both(foreign, func(o *inspect.Observation) { o.RotationErr = "forbidden" }),
			[]string{"unserved-key"},
			"whether a rotation names it is not known: forbidden",
		},
		{
			"an API server cannot be read", both(foreign, oneDown),
			[]string{"unserved-key", "server-unreadable"},
			"could not be read: far",
		},
		{"of a second API server", both(foreign, func(o *inspect.Observation) {
			o.Servers = append(o.Servers, inspect.ServerKeys{Name: "b", Keys: []token.PublicKey{stranger, o.Servers[0].Keys[0]}})
		}), nil, ""},
		{
			"under a rotation's kid", both(beside(t, stranger, map[string]any{"kid": chosen.ID}), named(chosen.ID)),
			[]string{"kid-differs", "unserved-key"},
			chosen.ID,
		},
		{
			"under the kid of an API server's key of its own choosing",
			both(serve(token.PublicKey{ID: "mine", Public: chosen.Public}), beside(t, stranger, map[string]any{"kid": "mine"})),
			[]string{"kid-differs", "unserved-key"},
			"API server a has another key under this kid",
		},
		{
			"an API server's key under a kid of its own", both(serve(token.PublicKey{ID: "mine", Public: stranger.Public}),
				beside(t, stranger, map[string]any{"kid": "mine"})), nil, "",
		},
		{
			"an API server's key under another kid",
			both(serve(stranger), beside(t, stranger, map[string]any{"kid": "theirs"})),
			[]string{"kid-differs", "unserved-key", "served-key-unpublished"},
			"API servers serve this key as " + stranger.ID,
		},
		{"without a kid", beside(t, stranger, map[string]any{"kid": nil}), []string{"kid-missing", "unserved-key"}, "no kid"},
		{"with an empty kid", beside(t, stranger, map[string]any{"kid": ""}), []string{"unserved-key"}, "empty kid"},
		{"an API server's with an empty kid", both(serve(stranger), foreign, beside(t, stranger, map[string]any{"kid": ""})), nil, ""},
		{"a rotation's with an empty kid", both(foreign, beside(t, stranger, map[string]any{"kid": ""}), named(stranger.ID)), nil, ""},
		{"for encryption", beside(t, stranger, map[string]any{"use": "enc"}), []string{"key-use", "unserved-key"}, ""},
		{
			"with another algorithm", beside(t, stranger, map[string]any{"alg": "HS256"}),
			[]string{"key-algorithm", "unserved-key"},
			"",
		},
		{
			"an API server's with another algorithm", both(serve(stranger), beside(t, stranger, map[string]any{"alg": "RS512"})),
			[]string{"key-algorithm"},
			"",
		},
		{"of no kind that is known", beside(t, stranger, map[string]any{"kty": "OKP"}), []string{"key-kind", "unserved-key"}, ""},
		{
			"leaked, of a rotation's end", both(foreign, leaked(stranger.ID), serve(stranger)),
			[]string{"leaked-key"},
			"has leaked",
		},
		{"leaked, and signs", both(func(o *inspect.Observation) { o.Leaked = []string{o.Servers[0].Signs} }), nil, ""},
		{"no API server", both(foreign, nobody), nil, "not judged: no API server could be asked"},
		{"no API server answers", both(foreign, down), []string{"server-unreadable"}, "not judged: no API server could be asked"},
		{"no API server, a folder that knows it", both(foreign, nobody, func(o *inspect.Observation) {
			keys, _ := token.ReadJWKS(o.JWKS.Text)
			o.Known = keys
		}), nil, "by the folder's files only"},
		{"no API server, a folder that does not know it", both(func(o *inspect.Observation) {
			o.Known = o.Servers[0].Keys
		}, foreign, nobody), []string{"keys-not-judged"}, stranger.ID},
		{"no API server, and leaked", both(foreign, nobody, leaked(stranger.ID)), []string{"leaked-key"}, stranger.ID},
		{"a bucket of another account", func(o *inspect.Observation) {
			o.BucketErr, o.BucketDenied = "account 1 does not own bucket b", true
		}, []string{"bucket-owner"}, "account 1 does not own bucket b"},
		{
			"a bucket that could not be asked about", func(o *inspect.Observation) { o.BucketErr = "no credentials" }, nil,
			"not judged: no credentials",
		},
		{"the discovery document leads elsewhere", func(o *inspect.Observation) {
			o.Discovery.Text = []byte(strings.Replace(string(o.Discovery.Text), `"jwks_uri":"`+issuer, `"jwks_uri":"https://else.example`, 1))
		}, []string{"jwks-uri-elsewhere"}, "another host, else.example"},
		{"the discovery document leads elsewhere in the bucket", func(o *inspect.Observation) {
			o.JWKSURI = issuer + "/openid/v1/jwks"
			o.Discovery.Text = []byte(strings.Replace(string(o.Discovery.Text), "openid/v1/jwks", "mine", 1))
		}, []string{"jwks-uri-elsewhere"}, "jwks_uri is " + issuer + "/mine"},
	} {
		o, _ := sound(t)
		o.Token = nil
		row.spoil(&o)
		findings := inspect.Inspect(o)
		if diff := cmp.Diff(row.want, rules(findings, finding.Error, finding.Warning)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
		said := func(f finding.Finding) bool { return strings.Contains(f.Message, row.says) }
		if row.says != "" && !slices.ContainsFunc(findings, said) {
			t.Errorf("%s: nothing says %q: %+v", row.name, row.says, findings)
		}
	}
}

// TestEveryUnservedKeyIsAnError: over sets of keys that are published, served and named, in
// any order, exactly those that are published and neither served nor named are errors.
func TestEveryUnservedKeyIsAnError(t *testing.T) {
	t.Parallel()
	keys := make([]token.PublicKey, 8)
	for i := range keys {
		_, keys[i] = newKey(t)
	}
	some := func(r *rand.Rand) []token.PublicKey {
		mixed := slices.Clone(keys)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		return mixed[:r.IntN(len(mixed))+1]
	}
	ids := func(keys []token.PublicKey) map[string]bool {
		set := map[string]bool{}
		for _, key := range keys {
			set[key.ID] = true
		}
		return set
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 12)) //nolint:gosec // chance that can be repeated
		o, _ := sound(t)
		there, servers, rotation := some(r), [][]token.PublicKey{some(r), some(r)}, some(r)[:1]
		o.JWKS.Text = documents(t, there...).JWKS.Text
		o.Servers, o.Token = nil, nil
		fine := ids(rotation)
		for _, served := range servers {
			o.Servers = append(o.Servers, inspect.ServerKeys{Name: "s", Keys: served})
			maps.Copy(fine, ids(served))
		}
		for _, key := range rotation {
			o.Rotation = append(o.Rotation, key.ID)
		}
		var want, got []string
		for _, key := range there {
			if !fine[key.ID] {
				want = append(want, key.ID)
			}
		}
		for _, f := range inspect.Inspect(o) {
			if f.Rule == "unserved-key" && f.Severity == finding.Error {
				got = append(got, strings.Fields(f.Message)[1])
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}
