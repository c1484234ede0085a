package inspect

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/rawjson"
	"github.com/rolecall/rolecall/internal/token"
)

// jwks judges the key set entry by entry, as STS selects from it.
func (r *report) jwks(o Observation, discovery discoveryDocument) {
	if !r.fetched("jwks", o.JWKS, o.Now) {
		return
	}
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(o.JWKS.Text, &set); err != nil {
		r.add(finding.Error, "jwks-json", cannotRetrieve, "rolecall issuer publish",
			"the key set is not JSON with a list of keys: "+err.Error())
		return
	}
	if name, twice := rawjson.Twice(o.JWKS.Text); twice {
		r.add(finding.Error, "jwks-json", generic, "rolecall issuer publish",
			fmt.Sprintf("the key set has the member %q twice: which counts is its reader's choice, and the other may be "+
				"anybody's key", name))
	}
	usable, there, kinds := map[string]string{}, map[string]bool{}, map[string]int{}
	for i, members := range set.Keys {
		entry, problem := readEntry(members)
		if problem != nil && problem.Rule == kidDiffers && r.chosen(o, entry) {
			problem.Severity = finding.Info
		}
		if problem != nil {
			problem.Message = fmt.Sprintf("keys[%d]: %s", i, problem.Message)
			r.findings = append(r.findings, *problem)
		}
		kinds[entry.kind]++
		if entry.id == "" || entry.algorithm == "" {
			continue
		}
		if twice := there[entry.id]; twice {
			r.add(finding.Error, "duplicate-kid", generic, "rolecall issuer publish",
				fmt.Sprintf("keys[%d]: kid %s appears twice; the last one counts at AWS", i, entry.id))
		}
		there[entry.id] = true
		var labelled string
		if _ = json.Unmarshal(members["alg"], &labelled); members["alg"] != nil && labelled != entry.algorithm {
			r.add(finding.Warning, "key-algorithm", "", "rolecall issuer publish",
				fmt.Sprintf("keys[%d]: alg is %s, and API servers sign with this key by %s", i, members["alg"],
					entry.algorithm))
		}
		if problem == nil || problem.Severity != finding.Error {
			usable[entry.id] = entry.algorithm
		}
	}
	if len(usable) == 0 {
		r.add(finding.Error, "no-keys", cannotRetrieve, "rolecall issuer publish",
			"the key set has no key that AWS can use")
	}
	for _, kind := range []string{"RSA", "EC"} {
		if kinds[kind] > document.MaxKeysOfType {
			r.add(finding.Error, "too-many-keys", cannotRetrieve,
				"rolecall issuer publish --kubeconfig FILE: only what API servers accept is published; take old "+
					"keys from --service-account-key-file",
				fmt.Sprintf("%d %s keys are published: AWS accepts at most %d",
					kinds[kind], kind, document.MaxKeysOfType))
		}
	}
	for _, algorithm := range sortedValues(usable) {
		if discovery.Algorithms != nil && !slices.Contains(*discovery.Algorithms, algorithm) {
			r.add(finding.Warning, "algorithm-undeclared", "", "rolecall issuer publish",
				"the discovery document does not declare the algorithm "+algorithm+" of a published key")
		}
	}
}

// kidDiffers is an error unless tokens carry that very kid: external signers may
// choose theirs (spec issuer-and-sts §3.1).
const kidDiffers = "kid-differs"

// chosen reports whether an API server, or a token, uses just this key under just
// this kid.
func (r *report) chosen(o Observation, e entry) bool {
	if o.Token != nil && o.Token.Header.KeyID == e.id && o.Token.VerifySignature(e.public) == nil {
		return true
	}
	return slices.ContainsFunc(o.Servers, func(s ServerKeys) bool {
		return slices.ContainsFunc(s.Keys, func(k token.PublicKey) bool {
			known, comparable := k.Public.(interface{ Equal(crypto.PublicKey) bool })
			return k.ID == e.id && comparable && known.Equal(e.public)
		})
	})
}

func sortedValues(m map[string]string) []string {
	values := make([]string, 0, len(m))
	for _, value := range m {
		values = append(values, value)
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// entry is what is understood of a key.
type entry struct {
	id, kind, algorithm string
	public              crypto.PublicKey
}

// readEntry returns the worst that is wrong with a key, nil if nothing is.
func readEntry(members map[string]json.RawMessage) (entry, *finding.Finding) {
	text := func(name string) string {
		var value string
		_ = json.Unmarshal(members[name], &value)
		return value
	}
	e := entry{id: text("kid"), kind: text("kty")}
	bad := func(rule, aws, fix, format string, args ...any) *finding.Finding {
		return &finding.Finding{
			Severity: finding.Error,
			Rule:     rule,
			Message:  fmt.Sprintf(format, args...),
			AWS:      aws,
			Advice:   fix,
		}
	}
	const publish = "rolecall issuer publish"
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, found := members[private]; found {
			return e, bad("private-key", "", "the key is known to everybody: rolecall issuer rotate --emergency",
				"the private member %q is published", private)
		}
	}
	if e.kind != "RSA" && e.kind != "EC" {
		return e, &finding.Finding{
			Rule:     "key-kind",
			Severity: finding.Warning,
			Message:  fmt.Sprintf("kty %q: AWS accepts only RSA and EC", e.kind),
			Advice: "rolecall issuer publish leaves it out; API servers must sign with RSA or P-256: rolecall " +
				"issuer rotate",
		}
	}
	_, hasID := members["kid"]
	switch {
	case !hasID:
		return e, bad("kid-missing", cannotRetrieve, publish, "there is no kid")
	case e.id == "":
		return e, &finding.Finding{
			Rule:     "kid-empty",
			Severity: finding.Info,
			Message:  "an empty kid, for tokens of API servers before 1.16: no supported one needs it",
			Advice:   "rolecall issuer publish, without emptyKIDs in issuer.yaml",
		}
	}
	if use, found := members["use"]; found && string(use) != `"sig"` {
		return e, bad("key-use", cannotRetrieve, publish, "use is %s: want \"sig\"", use)
	}
	if operations, found := members["key_ops"]; found {
		return e, bad("key-ops", generic, publish, "key_ops is %s: AWS refuses keys that have it", operations)
	}
	if _, found := members["x5c"]; found {
		return e, bad("key-x5c", cannotRetrieve, publish, "x5c is present: AWS wants the bare key")
	}
	if err := wellFormed(members); err != nil {
		return e, bad("key-members", cannotRetrieve, publish, "%v", err)
	}
	return e.key(members, bad)
}

// key rebuilds the public key and compares its id.
func (e entry) key(
	members map[string]json.RawMessage, bad func(rule, aws, fix, format string, args ...any) *finding.Finding,
) (entry, *finding.Finding) {
	single, err := json.Marshal(map[string]any{"keys": []any{members}})
	if err != nil {
		return e, bad("key-members", cannotRetrieve, "rolecall issuer publish", "%v", err)
	}
	keys, err := token.ReadJWKS(single)
	if err != nil || len(keys) != 1 {
		return e, bad("key-members", cannotRetrieve, "rolecall issuer publish",
			"no RSA or EC key of a size AWS accepts: %v", err)
	}
	e.algorithm, e.public = keys[0].Algorithm(), keys[0].Public
	computed, err := token.KeyID(keys[0].Public)
	if err == nil && computed != e.id {
		return e, &finding.Finding{
			Severity: finding.Error,
			Rule:     kidDiffers,
			AWS:      generic,
			Advice:   "rolecall issuer publish, unless an external signer chose the kid",
			Message: fmt.Sprintf("kid %s is not that of the key, %s: tokens that kube-apiserver signs with this key "+
				"do not find it", e.id, computed),
		}
	}
	return e, nil
}

// wellFormed finds the usual slips of hand-made key sets.
func wellFormed(members map[string]json.RawMessage) error {
	for _, name := range []string{"n", "e", "x", "y"} {
		raw, found := members[name]
		if !found {
			continue
		}
		var value string
		if err := json.Unmarshal(raw, &value); err != nil {
			return fmt.Errorf("%s is not a string", name)
		}
		switch {
		case strings.Contains(value, "="):
			return fmt.Errorf("%s is base64 with padding: want base64url without", name)
		case strings.ContainsAny(value, "+/"):
			return fmt.Errorf("%s is standard base64: want base64url", name)
		}
		decoded, err := base64.RawURLEncoding.DecodeString(value)
		switch {
		case err != nil:
			return fmt.Errorf("%s is not base64url", name)
		case name == "n" && len(decoded) > 2 && decoded[0] == 0x30 && decoded[1] == 0x82:
			return errors.New("n is a whole key in DER: want the modulus only")
		}
	}
	return nil
}
