package inspect

import (
	"crypto"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/token"
)

// published is an entry of a key set, read for what it is and not for whether AWS would
// take it: what it says of its use, its algorithm or its certificate is left out.
type published struct {
	id     string
	hasID  bool
	public crypto.PublicKey // nil if it is no key
}

// name is how findings call it.
func (p published) name(at int) string {
	switch {
	case !p.hasID:
		return fmt.Sprintf("keys[%d], which has no kid,", at)
	case p.id == "":
		return fmt.Sprintf("keys[%d], with an empty kid,", at)
	}
	return "key " + p.id
}

// kid is what Kubernetes would call it.
func (p published) kid() string {
	if p.public == nil {
		return ""
	}
	id, _ := token.KeyID(p.public)
	return id
}

func readPublished(text []byte) []published {
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil {
		return nil
	}
	entries := make([]published, 0, len(set.Keys))
	for _, members := range set.Keys {
		var p published
		_, p.hasID = members["kid"]
		_ = json.Unmarshal(members["kid"], &p.id) // no string is as good as empty
		p.public = document.EntryKey(members)
		entries = append(entries, p)
	}
	return entries
}

func sameKey(a, b crypto.PublicKey) bool {
	known, comparable := a.(interface{ Equal(crypto.PublicKey) bool })
	return comparable && b != nil && known.Equal(b)
}

// unserved finds the keys that are published though no API server serves them: who wrote
// to the place of publication once could be any service account for good.
func (r *report) unserved(o Observation) {
	if !o.JWKS.Done || o.JWKS.Err != "" || o.JWKS.Status != 200 {
		return
	}
	entries := readPublished(o.JWKS.Text)
	r.leaked(o, entries)
	var readable []ServerKeys
	var unreadable []string
	for _, server := range o.Servers {
		if server.Err != "" {
			unreadable = append(unreadable, server.Name)
			continue
		}
		readable = append(readable, server)
	}
	if len(readable) == 0 {
		r.notJudged(o, entries)
		return
	}
	doubt := ""
	if len(unreadable) > 0 {
		doubt += "; it may be of an API server that could not be read: " + strings.Join(unreadable, ", ")
	}
	if o.RotationErr != "" {
		doubt += "; whether a rotation names it is not known: " + o.RotationErr
	}
	for at, entry := range entries {
		if message := foreign(entry, readable, o.Rotation); message != "" {
			r.add(finding.Error, "unserved-key", "", "rolecall issuer publish --kubeconfig FILE takes it out; then find "+
				"out who wrote it, and end the sessions that it may have opened (aws:TokenIssueTime). If a rotation "+
				"has just ended it may be an old copy in a cache", entry.name(at)+" is published, but "+message+doubt)
		}
	}
}

// foreign says why an entry is nobody's; empty if it is an API server's, or if a rotation
// under way names it.
func foreign(entry published, servers []ServerKeys, rotation []string) string {
	elsewhere, otherKey := "", ""
	for _, server := range servers {
		for _, key := range server.Keys {
			same := sameKey(key.Public, entry.public)
			switch {
			case same && (key.ID == entry.id || entry.id == ""):
				return "" // without a kid it is the same key once more
			case same:
				elsewhere = key.ID
			case key.ID == entry.id && entry.id != "":
				otherKey = server.Name
			}
		}
	}
	own := entry.kid()
	signs := slices.ContainsFunc(servers, func(s ServerKeys) bool { return s.Signs != "" && s.Signs == own })
	named := own != "" && (slices.Contains(rotation, own) || signs) && (entry.id == own || entry.id == "")
	switch {
	case otherKey != "":
		return "API server " + otherKey + " has another key under this kid: the holder of the published one can be any " +
			"service account at AWS"
	case named:
		return ""
	case elsewhere != "":
		return "API servers serve this key as " + elsewhere + ": no token of theirs names this kid"
	}
	return "no API server serves it and no rotation under way names it: its holder can be any service account " +
		"at AWS"
}

// leaked finds keys that are known to have leaked.
func (r *report) leaked(o Observation, entries []published) {
	for at, entry := range entries {
		own := entry.kid()
		leaked := slices.Contains(o.Leaked, entry.id) || own != "" && slices.Contains(o.Leaked, own)
		signs := slices.ContainsFunc(o.Servers,
			func(s ServerKeys) bool { return s.Signs != "" && (s.Signs == entry.id || s.Signs == own) })
		if leaked && !signs {
			r.add(finding.Error, "leaked-key", "", "rolecall issuer publish --kubeconfig FILE takes it out",
				entry.name(at)+" has leaked, no API server signs with it, and it is published")
		}
	}
}

// notJudged says that nobody was asked whose the keys are, and which of them the folder
// does not know either.
func (r *report) notJudged(o Observation, entries []published) {
	if len(entries) == 0 {
		return
	}
	if o.Known == nil {
		r.add(finding.Info, "keys-not-judged", "", "add --kubeconfig FILE",
			"whether every published key is the cluster's was not judged: no API server could be asked")
		return
	}
	known := append(document.IDs(o.Known), o.Rotation...)
	var strange []string
	for at, entry := range entries {
		if own := entry.kid(); own != "" && !slices.Contains(known, own) {
			strange = append(strange, strings.TrimSuffix(entry.name(at), ","))
		}
	}
	if len(strange) == 0 {
		r.add(finding.Info, "keys-not-judged", "", "add --kubeconfig FILE",
			"whether every published key is the cluster's was judged by the folder's files only: no API server could "+
				"be asked")
		return
	}
	const enough = 5
	if more := len(strange) - enough; more > 0 {
		strange = append(strange[:enough], fmt.Sprintf("and %d more", more))
	}
	r.add(finding.Warning, "keys-not-judged", "", "add --kubeconfig FILE, to ask the API servers whether it is theirs",
		"published, but not in the folder's files: "+strings.Join(strange, "; ")+". Whether an API server serves it "+
			"was not judged: none could be asked")
}

// bucketOwner finds a bucket that is not the issuer's own: what anybody may read, the account
// that must own it may not.
func (r *report) bucketOwner(o Observation) {
	switch {
	case o.BucketErr == "":
	case o.BucketDenied && o.JWKS.Status == 200:
		r.add(finding.Error, "bucket-owner", "", "aws s3api head-bucket --bucket NAME --expected-bucket-owner ACCOUNT "+
			"tells; if another account shall own it, name it as spec.publish.s3.owner in issuer.yaml",
			"anybody reads the keys, and they are refused to the account that must own the bucket: "+o.BucketErr)
	default:
		r.add(finding.Info, "bucket-not-read", "", "", "whether the bucket is of the right account was not judged: "+
			o.BucketErr)
	}
}

// elsewhere finds a discovery document that leads to keys which are not those that are
// published beside it: its writer says which keys count.
func (r *report) elsewhere(o Observation, uri string) {
	host := func(url string) string {
		host, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
		return strings.ToLower(strings.TrimSuffix(host, ":443"))
	}
	switch {
	case o.JWKS.Status != 200 || o.JWKS.Err != "":
		return // said already
	case o.JWKSURI != "" && uri != o.JWKSURI:
		r.add(finding.Error, "jwks-uri-elsewhere", "", "rolecall issuer publish; if it is meant, name the place in "+
			"issuer.yaml", fmt.Sprintf("jwks_uri is %s, and the keys are published at %s: its writer says which keys "+
			"AWS trusts", uri, o.JWKSURI))
	case o.JWKSURI == "" && host(uri) != host(o.Issuer):
		r.add(finding.Warning, "jwks-uri-elsewhere", "", "curl "+uri+" shows them: see whose they are",
			fmt.Sprintf("jwks_uri leads to another host, %s: its owner says which keys AWS trusts", host(uri)))
	}
}
