package awsauth

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
	yamlv2 "sigs.k8s.io/yaml/goyaml.v2"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/arn"
)

// peerEntry is what the peer's decoder makes of an entry: YAML 1.1 is made JSON, and what
// has another type than it should is empty.
type peerEntry struct {
	RoleARN, UserARN, Username string
	Groups                     []string
	SSO                        json.RawMessage
}

// peer reads a list as aws-iam-authenticator does (spec authenticator §5.2). ok is false
// if it takes nothing of it.
func peer(key Key, text string) (entries []peerEntry, accounts []string, ok bool) {
	if key == Accounts {
		err := yamlv2.Unmarshal([]byte(text), &accounts)
		return nil, accounts, err == nil
	}
	document, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, nil, false
	}
	err = json.Unmarshal(document, &entries)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field == "" && entries == nil {
		return nil, nil, false
	}
	return entries, nil, true
}

// TestPeer: what the peer maps to a user with a name, is mapped to the same user in the
// same groups. The groups without a name that it gives are left out.
func TestPeer(t *testing.T) {
	t.Parallel()
	mapped, unread := 0, 0
	for odd := range 6 {
		w := &writer{rand.New(rand.NewPCG(7, uint64(odd))), odd}
		for range 9_000 {
			key := Keys()[w.IntN(3)]
			text := w.list(key)
			want, accounts, ok := peer(key, text)
			if !ok {
				continue
			}
			got := List(key, text, Options{Source: access.EKSConfigMap, Place: "x"})
			if got.Broken && strings.Contains(got.Problems[0].Text, "not valid YAML") {
				// The peer's library stops where a list ends, and does not look at what is behind it.
				unread++
				continue
			}
			for _, id := range accounts {
				if arn.IsAccount(id) && !slices.ContainsFunc(got.Mappings,
					func(m access.Mapping) bool { return m.Match.Account == id }) {
					t.Fatalf("account %s is not mapped; %v\n%s\n%q", id, got.Problems, text, text)
				}
			}
			for i, e := range want {
				id := e.RoleARN
				if key == Users {
					id = e.UserARN
				}
				read, err := access.ReadPrincipal(id)
				if err != nil || e.Username == "" || e.SSO != nil && string(e.SSO) != "null" {
					continue
				}
				groups := slices.DeleteFunc(e.Groups, func(g string) bool { return g == "" })
				at := string(key) + "[" + string(rune('0'+i)) + "]"
				found := slices.ContainsFunc(got.Mappings, func(m access.Mapping) bool {
					return m.Field == at && m.Match.ARN == read.ARN && m.Username == e.Username &&
						slices.Equal(m.Groups, groups)
				})
				if !found {
					t.Fatalf("%s: %+v is not mapped: %+v %v\n%s\n%q", at, e, got.Mappings, got.Problems, text, text)
				}
				mapped++
			}
			// And nobody else is.
			for _, m := range got.Mappings {
				if key == Accounts {
					if !slices.Contains(accounts, m.Match.Account) {
						t.Fatalf("account %s is mapped\n%s", m.Match.Account, text)
					}
					continue
				}
				if m.Match.ARN == "" {
					continue
				}
				if !slices.ContainsFunc(want, func(e peerEntry) bool {
					read, err := access.ReadPrincipal(e.RoleARN + e.UserARN)
					return (err == nil && read.ARN == m.Match.ARN || strings.Contains(e.RoleARN, m.Match.ARN) ||
						strings.Contains(e.UserARN, m.Match.ARN)) && e.Username == m.Username
				}) {
					t.Fatalf("%+v is mapped, and the peer has %+v\n%s\n%q", m, want, text, text)
				}
			}
		}
	}
	if mapped < 20_000 || unread > 600 {
		t.Errorf("%d mappings were compared, and %d texts could not be", mapped, unread)
	}
}
