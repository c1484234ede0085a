package account

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/managedpolicy"
)

// awsPolicies comes between partition and path in the ARNs of AWS's own managed
// policies.
const awsPolicies = ":iam::aws:policy"

// AdministratorAccess is the ARN of the managed policy that allows everything.
const AdministratorAccess = "arn:aws" + awsPolicies + "/AdministratorAccess"

// AWSPolicies returns the managed policies of AWS's own that are known here, by
// ARN, each in its newest version only. They are not to be changed.
var AWSPolicies = sync.OnceValue(func() []*ManagedPolicy {
	known := managedpolicy.All()
	policies := make([]*ManagedPolicy, len(known))
	for i, p := range known {
		last, _ := strconv.Atoi(strings.TrimPrefix(p.VersionID, "v")) // v and a number, says the package
		policies[i] = &ManagedPolicy{
			Name:     p.Name,
			Path:     p.Path,
			ID:       awsPolicyID(p.Name),
			Last:     last,
			Created:  p.Created,
			Updated:  p.Created,
			AWS:      true,
			Versions: []PolicyVersion{{ID: p.VersionID, Text: p.Document, Default: true, Created: p.Created}},
		}
	}
	return policies
})

// awsPolicyID is an id of IAM's form, always the same for a name; it is not the
// one that AWS has.
func awsPolicyID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
}
