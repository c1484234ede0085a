package eks

import (
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// The key of clusters is region and name; what belongs to one is stored below
// these two.
var (
	clusterTable     = account.Table{Name: "eks-cluster"}
	entryTable       = account.Table{Name: "eks-access-entry"} // by principal ARN
	associationTable = account.Table{Name: "eks-association"}  // by id
	bindingTable     = account.Table{Name: "eks-binding"}      // association ids by bindingKey
	askedTable       = account.Table{Name: "eks-asked"}        // association ids by client request token
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
	Tags    []account.Tag   `json:",omitempty"`
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
	// account that does not exist here.
	PrincipalID    string
	Type, Username string
	Groups         []string       `json:",omitempty"`
	Policies       []AccessPolicy `json:",omitempty"`
	Tags           []account.Tag  `json:",omitempty"`
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
	Tags        []account.Tag `json:",omitempty"`
	Created     time.Time
	Modified    time.Time
	Asked       Asked // by Create
	Updated     Asked // by the last update
}

// NewAssociationID returns a- and 17 characters.
func NewAssociationID() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz012345" // of the characters that AWS uses, as many as divide evenly
	id := make([]byte, 17)
	_, _ = rand.Read(id) // never fails, says its documentation
	for i := range id {
		id[i] = alphabet[id[i]&31]
	}
	return "a-" + string(id)
}

func resourceARN(a *account.Account, region, resource string) string {
	return arn.ARN{Partition: a.Partition, Service: "eks", Region: region, Account: a.ID, Resource: resource}.String()
}

// ClusterARN returns the ARN of a cluster of an account.
func ClusterARN(a *account.Account, region, name string) string {
	return resourceARN(a, region, "cluster/"+name)
}

// accessEntryARN returns an ARN below which a principal's entry stands.
func accessEntryARN(a *account.Account, region, cluster, rest string) string {
	return resourceARN(a, region, "access-entry/"+cluster+"/"+rest)
}

// AssociationARN returns the ARN of an association of an account's cluster.
func AssociationARN(a *account.Account, region, cluster, id string) string {
	return resourceARN(a, region, "podidentityassociation/"+cluster+"/"+id)
}

func clusterRecords(s account.State) account.Records[Cluster] {
	return account.In[Cluster](s, clusterTable)
}

func clusterKey(region, name string) string { return region + "/" + name }

// GetCluster returns a cluster, or account.ErrNotFound.
func GetCluster(s account.State, region, name string) (*Cluster, error) {
	return clusterRecords(s).Get(clusterKey(region, name))
}

// Clusters returns the clusters of all regions, by region and name.
func Clusters(s account.State) ([]*Cluster, error) { return clusterRecords(s).All() }

// PutCluster creates or replaces a cluster.
func PutCluster(s account.State, c *Cluster) error {
	return clusterRecords(s).Put(clusterKey(c.Region, c.Name), c)
}

// dropCluster removes a cluster and all that belongs to it.
func dropCluster(s account.State, region, name string) error {
	in := In(s, region, name)
	for _, table := range []account.Table{entryTable, associationTable, bindingTable, askedTable} {
		if err := in.bytes(table).Clear(); err != nil {
			return err
		}
	}
	return clusterRecords(s).Delete(clusterKey(region, name))
}

// InCluster is what an account's state has of one cluster.
type InCluster struct {
	state        account.State
	region, name string
}

// In returns what an account's state has of one cluster.
func In(s account.State, region, name string) InCluster { return InCluster{s, region, name} }

func (c InCluster) bytes(t account.Table) account.Bytes { return t.Bytes(c.state, c.region, c.name) }

func (c InCluster) entries() account.Records[AccessEntry] {
	return account.In[AccessEntry](c.state, entryTable, c.region, c.name)
}

func (c InCluster) associations() account.Records[Association] {
	return account.In[Association](c.state, associationTable, c.region, c.name)
}

func bindingKey(namespace, serviceAccount string) string { return namespace + "/" + serviceAccount }

// Entry returns a principal's access entry, or account.ErrNotFound.
func (c InCluster) Entry(principal string) (*AccessEntry, error) {
	return c.entries().Get(principal)
}

// Entries returns all access entries by principal.
func (c InCluster) Entries() ([]*AccessEntry, error) {
	return c.entries().All()
}

// PutEntry creates or replaces an access entry.
func (c InCluster) PutEntry(e *AccessEntry) error {
	return c.entries().Put(e.Principal, e)
}

// deleteEntry removes an access entry.
func (c InCluster) deleteEntry(principal string) error {
	return c.entries().Delete(principal)
}

// Association returns an association by its id, or account.ErrNotFound.
func (c InCluster) Association(id string) (*Association, error) {
	return c.associations().Get(id)
}

// Associations returns all associations by id.
func (c InCluster) Associations() ([]*Association, error) {
	return c.associations().All()
}

// AssociationOf returns the association of a service account, or account.ErrNotFound.
func (c InCluster) AssociationOf(namespace, serviceAccount string) (*Association, error) {
	return c.indexed(bindingTable, bindingKey(namespace, serviceAccount))
}

// AssociationAsked returns the association that a client request token made, or
// account.ErrNotFound.
func (c InCluster) AssociationAsked(token string) (*Association, error) {
	return c.indexed(askedTable, token)
}

func (c InCluster) indexed(index account.Table, key string) (*Association, error) {
	id := c.bytes(index).Get(key)
	if id == nil {
		return nil, account.ErrNotFound
	}
	return c.Association(string(id))
}

// PutAssociation creates or replaces an association.
func (c InCluster) PutAssociation(one *Association) error {
	err := c.bytes(bindingTable).Put(bindingKey(one.Namespace, one.ServiceAccount), []byte(one.ID))
	if err == nil && one.Asked.Token != "" {
		err = c.bytes(askedTable).Put(one.Asked.Token, []byte(one.ID))
	}
	if err != nil {
		return err
	}
	return c.associations().Put(one.ID, one)
}

// deleteAssociation removes an association.
func (c InCluster) deleteAssociation(one *Association) error {
	err := c.bytes(bindingTable).Delete(bindingKey(one.Namespace, one.ServiceAccount))
	if err == nil && one.Asked.Token != "" {
		err = c.bytes(askedTable).Delete(one.Asked.Token)
	}
	if err != nil {
		return err
	}
	return c.associations().Delete(one.ID)
}

// Count returns how many associations there are.
func (c InCluster) Count() int { return c.bytes(bindingTable).Count() }
