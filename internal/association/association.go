// Package association answers which role a service account has by Pod Identity:
// the model and its rules, the set of a cluster's associations, and the contract
// of the stores that keep them.
//
// It knows nothing of credentials, tokens or HTTP, and decides nothing about
// trust: what is associated here a RoleGrant or AWS may still refuse.
package association

import (
	"crypto/sha256"
	"math/big"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
)

// Cluster is what an association's ARN and external id are made of.
type Cluster struct {
	// Name is the cluster's in the EKS API; Partition aws, aws-cn, aws-us-gov and
	// so on; Account 12 digits.
	Name, Partition, Region, Account string
}

// ARN is the cluster's: session tag eks-cluster-arn.
func (c *Cluster) ARN() string {
	return arn.Cluster{Partition: c.Partition, Region: c.Region, Account: c.Account, Name: c.Name}.ARN().String()
}

// AssociationARN is an association's ARN (spec podidentity §13.2).
func (c *Cluster) AssociationARN(id string) string {
	return "arn:" + c.Partition + ":eks:" + c.Region + ":" + c.Account + ":podidentityassociation/" + c.Name + "/" + id
}

// ExternalID is what EKS sends when it assumes a target role for a service
// account (spec podidentity §14.4).
func (c *Cluster) ExternalID(namespace, serviceAccount string) string {
	return strings.Join([]string{c.Region, c.Account, c.Name, namespace, serviceAccount}, "/")
}

// TaggingOf is how far an association's session tags go.
func TaggingOf(s *v1alpha1.PodIdentityAssociationSpec) v1alpha1.SessionTagging {
	switch {
	case s.DisableSessionTags, s.SessionTagging == v1alpha1.NoTags:
		return v1alpha1.NoTags
	case s.SessionTagging == v1alpha1.LocalTags:
		return v1alpha1.LocalTags
	}
	return v1alpha1.TransitiveTags
}

// idLength is that of an id after its a-.
const idLength = 17

// ID is the id of an association in the EKS API. It is made from the object's
// UID, so that it need not be written: everybody who reads the object knows it,
// even in the second after kubectl created it, and an object that is created
// again has another.
func ID(a *v1alpha1.PodIdentityAssociation) string {
	digest := sha256.Sum256([]byte("podidentityassociation/" + string(a.UID)))
	text := new(big.Int).SetBytes(digest[:]).Text(36) // 0-9 and a-z; 256 bits give about 50
	return "a-" + text[len(text)-idLength:]
}

// ExternalIDOf is what is sent with sts:AssumeRole for a service account under an
// association whose mode is known: to the target role, or to the role itself in
// mode BrokerRole. It is empty if nothing is sent (spec podidentity §14.4, §19.5).
func (c *Cluster) ExternalIDOf(
	a *v1alpha1.PodIdentityAssociation, mode v1alpha1.AssociationMode, serviceAccount string,
) string {
	switch {
	case a.Spec.TargetRoleARN == "" && mode != v1alpha1.BrokerRole:
		return ""
	case a.Spec.ExternalID != "":
		return a.Spec.ExternalID
	}
	return c.ExternalID(a.Namespace, serviceAccount)
}
