package objects

import (
	"cmp"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/access"
)

// ReadPeer takes an IAMIdentityMapping out of the content of an object. ok is false if
// it has no name or the types of its fields are not what they must be.
func ReadPeer(content map[string]any) (peer PeerMapping, ok bool) {
	meta, _ := content["metadata"].(map[string]any)
	spec, _ := content["spec"].(map[string]any)
	peer.Name, _ = meta["name"].(string)
	peer.Deleted = meta["deletionTimestamp"] != nil
	if created, has := meta["creationTimestamp"].(string); has {
		// Without a time it is the newest, and hides nobody's.
		peer.Created, _ = time.Parse(time.RFC3339, created)
	}
	var isARN, isName bool
	peer.ARN, isARN = spec["arn"].(string)
	peer.Username, isName = spec["username"].(string)
	if groups, has := spec["groups"]; has && groups != nil {
		list, isList := groups.([]any)
		if !isList {
			return peer, false
		}
		for _, group := range list {
			text, isText := group.(string)
			if !isText {
				return peer, false
			}
			peer.Groups = append(peer.Groups, text)
		}
	}
	return peer, isARN && isName && peer.Name != ""
}

// Peer reads one IAMIdentityMapping.
func Peer(o PeerMapping) Result {
	at := access.Origin{Source: access.CRD, Place: "IAMIdentityMapping " + o.Name}
	if o.Deleted {
		return Result{}
	}
	read, err := access.ReadPrincipal(o.ARN)
	if err != nil {
		return refuse(at, o.ARN, "spec.arn", err.Error(), hint(err))
	}
	return Result{
		Mappings: []access.Mapping{{
			Origin: at, Match: access.Match{ARN: read.ARN}, Written: read.Written, Username: o.Username,
			Groups: o.Groups,
		}},
		Problems: notes(at, o.ARN, "spec.arn", read.Notes),
	}
}

// Peers reads all. Of two about one principal the older counts.
func Peers(list []PeerMapping) (mappings []access.Mapping, problems []access.Problem) {
	sorted := slices.SortedStableFunc(slices.Values(list), func(a, b PeerMapping) int {
		return cmp.Or(cmp.Compare(unknownLast(a.Created), unknownLast(b.Created)),
			a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	for _, o := range sorted {
		result := Peer(o)
		mappings = append(mappings, result.Mappings...)
		problems = append(problems, result.Problems...)
	}
	return mappings, problems
}

func unknownLast(t time.Time) int {
	if t.IsZero() {
		return 1
	}
	return 0
}
