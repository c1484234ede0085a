package account

import (
	"encoding/json"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
)

// Kinds of what EKS keeps: clusters by region and name, what belongs to one
// below that.
const (
	kindCluster     = "eks-cluster"
	kindEntry       = "eks-access-entry" // by principal ARN
	kindAssociation = "eks-association"  // by id
	kindBinding     = "eks-binding"      // association ids by namespace/service account
	kindAsked       = "eks-asked"        // association ids by client request token
)

// Cluster is an EKS cluster, as a record: nothing runs.
type Cluster struct {
	Region, Name string
	Version      string
	RoleARN      string
	// Issuer is the URL that the cluster's service-account tokens name.
	Issuer   string
	Endpoint string
	// CA is the certificate authority of the endpoint, in PEM.
	CA string
	// Mode is CONFIG_MAP, API_AND_CONFIG_MAP or API.
	Mode string
	// Settings are other members of DescribeCluster as they were given.
	Settings map[string]json.RawMessage `json:",omitempty"`
	// Updates are changes of the configuration, oldest first.
	Updates []ClusterUpdate `json:",omitempty"`
	Tags    []Tag           `json:",omitempty"`
	Created time.Time
	Asked   Asked
}

// ClusterUpdate is one change of a cluster's configuration.
type ClusterUpdate struct {
	ID, Type string
	// Params are names of settings and their new values.
	Params  [][2]string
	Created time.Time
	Asked   Asked
}

// Asked is what an idempotent call was: its token, and a digest of what it
// asked for.
type Asked struct{ Token, Digest string }

// AccessEntry lets a principal into a cluster.
type AccessEntry struct {
	ARN, Principal string
	// PrincipalID is the unique id the principal had; empty if it is of an
	// account that is not played here.
	PrincipalID    string
	Type, Username string
	Groups         []string       `json:",omitempty"`
	Policies       []AccessPolicy `json:",omitempty"`
	Tags           []Tag          `json:",omitempty"`
	Created        time.Time
	Modified       time.Time
	Asked          Asked
}

// AccessPolicy is an access policy of an entry.
type AccessPolicy struct {
	ARN string
	// Scope is cluster or namespace.
	Scope      string
	Namespaces []string `json:",omitempty"`
	Associated time.Time
	Modified   time.Time
}

// Association says which role the pods of a service account get.
type Association struct {
	ID, Namespace, ServiceAccount string
	RoleARN, TargetRoleARN        string
	// Policy is a session policy; empty if there is none.
	Policy      string
	DisableTags bool
	Tags        []Tag `json:",omitempty"`
	Created     time.Time
	Modified    time.Time
	Asked       Asked // by Create
	Updated     Asked // by the last update
}

// NewAssociationID returns a- and 17 characters.
func NewAssociationID() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz012345" // of what AWS takes, as many as fit evenly
	id := randomBytes(17)
	for i := range id {
		id[i] = alphabet[id[i]&31]
	}
	return "a-" + string(id)
}

func (a *Account) eksARN(region, resource string) string {
	return arn.ARN{Partition: a.Partition, Service: "eks", Region: region, Account: a.ID, Resource: resource}.String()
}

// ClusterARN returns the ARN of a cluster of this account.
func (a *Account) ClusterARN(region, name string) string {
	return a.eksARN(region, "cluster/"+name)
}

// AccessEntryARN returns an ARN below which a principal's entry stands.
func (a *Account) AccessEntryARN(region, cluster, rest string) string {
	return a.eksARN(region, "access-entry/"+cluster+"/"+rest)
}

// AssociationARN returns the ARN of an association of this account.
func (a *Account) AssociationARN(region, cluster, id string) string {
	return a.eksARN(region, "podidentityassociation/"+cluster+"/"+id)
}

// InCluster is the part of an account's state that belongs to one cluster.
type InCluster struct {
	state State
	below string
}

// InCluster returns the state of one cluster.
func (s State) InCluster(region, name string) InCluster {
	return InCluster{s, region + "/" + name}
}

func (c InCluster) kind(of string) string { return c.state.kind(of) + "/" + c.below }

// Cluster returns a cluster, or ErrNotFound.
func (s State) Cluster(region, name string) (*Cluster, error) {
	return get[Cluster](s, s.kind(kindCluster), region+"/"+name)
}

// Clusters returns the clusters of all regions, by region and name.
func (s State) Clusters() ([]*Cluster, error) { return all[Cluster](s, s.kind(kindCluster)) }

// PutCluster creates or replaces a cluster.
func (s State) PutCluster(c *Cluster) error {
	return put(s, s.kind(kindCluster), c.Region+"/"+c.Name, c)
}

// DeleteCluster removes a cluster and all that belongs to it.
func (s State) DeleteCluster(region, name string) error {
	in := s.InCluster(region, name)
	for _, kind := range []string{kindEntry, kindAssociation, kindBinding, kindAsked} {
		var keys []string
		err := s.reader.Each(in.kind(kind), func(key string, _ []byte) error {
			keys = append(keys, key)
			return nil
		})
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := s.writer.Delete(in.kind(kind), key); err != nil {
				return err
			}
		}
	}
	return s.writer.Delete(s.kind(kindCluster), region+"/"+name)
}

// Entry returns a principal's access entry, or ErrNotFound.
func (c InCluster) Entry(principal string) (*AccessEntry, error) {
	return get[AccessEntry](c.state, c.kind(kindEntry), principal)
}

// Entries returns all access entries by principal.
func (c InCluster) Entries() ([]*AccessEntry, error) {
	return all[AccessEntry](c.state, c.kind(kindEntry))
}

// PutEntry creates or replaces an access entry.
func (c InCluster) PutEntry(e *AccessEntry) error {
	return put(c.state, c.kind(kindEntry), e.Principal, e)
}

// DeleteEntry removes an access entry.
func (c InCluster) DeleteEntry(principal string) error {
	return c.state.writer.Delete(c.kind(kindEntry), principal)
}

// Association returns an association by its id, or ErrNotFound.
func (c InCluster) Association(id string) (*Association, error) {
	return get[Association](c.state, c.kind(kindAssociation), id)
}

// Associations returns all associations by id.
func (c InCluster) Associations() ([]*Association, error) {
	return all[Association](c.state, c.kind(kindAssociation))
}

// AssociationOf returns the association of a service account, or ErrNotFound.
func (c InCluster) AssociationOf(namespace, serviceAccount string) (*Association, error) {
	return c.indexed(kindBinding, namespace+"/"+serviceAccount)
}

// AssociationAsked returns the association that a client request token made, or
// ErrNotFound.
func (c InCluster) AssociationAsked(token string) (*Association, error) {
	return c.indexed(kindAsked, token)
}

func (c InCluster) indexed(kind, key string) (*Association, error) {
	id := c.state.reader.Get(c.kind(kind), key)
	if id == nil {
		return nil, ErrNotFound
	}
	return c.Association(string(id))
}

// PutAssociation creates or replaces an association.
func (c InCluster) PutAssociation(one *Association) error {
	writer := c.state.writer
	if err := writer.Put(c.kind(kindBinding), one.Namespace+"/"+one.ServiceAccount, []byte(one.ID)); err != nil {
		return err
	}
	if one.Asked.Token != "" {
		if err := writer.Put(c.kind(kindAsked), one.Asked.Token, []byte(one.ID)); err != nil {
			return err
		}
	}
	return put(c.state, c.kind(kindAssociation), one.ID, one)
}

// DeleteAssociation removes an association.
func (c InCluster) DeleteAssociation(one *Association) error {
	writer := c.state.writer
	if err := writer.Delete(c.kind(kindBinding), one.Namespace+"/"+one.ServiceAccount); err != nil {
		return err
	}
	if one.Asked.Token != "" {
		if err := writer.Delete(c.kind(kindAsked), one.Asked.Token); err != nil {
			return err
		}
	}
	return writer.Delete(c.kind(kindAssociation), one.ID)
}

// Count returns how many associations there are.
func (c InCluster) Count() (int, error) {
	count := 0
	err := c.state.reader.Each(c.kind(kindBinding), func(string, []byte) error {
		count++
		return nil
	})
	return count, err
}
