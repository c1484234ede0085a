package seed

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/eks"
)

// Cluster is an EKS cluster.
type Cluster struct {
	Name string `yaml:"name"`
	// Region is us-east-1 if empty.
	Region string `yaml:"region,omitempty"`
	// Issuer is the issuer of the cluster's service-account tokens; like
	// Endpoint and CA it is made up if empty.
	Issuer   string `yaml:"issuer,omitempty"`
	Endpoint string `yaml:"endpoint,omitempty"`
	// CA is in PEM.
	CA      string `yaml:"certificateAuthority,omitempty"`
	Version string `yaml:"version,omitempty"`
	Role    string `yaml:"role,omitempty"`
	// Mode is CONFIG_MAP, API_AND_CONFIG_MAP or API, which is the default here.
	Mode         string            `yaml:"authenticationMode,omitempty"`
	Entries      []AccessEntry     `yaml:"accessEntries,omitempty"`
	Associations []Association     `yaml:"podIdentityAssociations,omitempty"`
	Tags         map[string]string `yaml:"tags,omitempty"`
}

// AccessEntry lets a principal into a cluster.
type AccessEntry struct {
	Principal string            `yaml:"principal"`
	Type      string            `yaml:"type,omitempty"` // STANDARD if empty
	Username  string            `yaml:"username,omitempty"`
	Groups    []string          `yaml:"groups,omitempty"`
	Policies  []AccessPolicy    `yaml:"policies,omitempty"`
	Tags      map[string]string `yaml:"tags,omitempty"`
}

// AccessPolicy is an access policy of an entry, for the cluster if no namespaces
// are named.
type AccessPolicy struct {
	ARN        string   `yaml:"arn"`
	Namespaces []string `yaml:"namespaces,omitempty"`
}

// Association says which role the pods of a service account get.
type Association struct {
	Namespace      string `yaml:"namespace"`
	ServiceAccount string `yaml:"serviceAccount"`
	// Role and TargetRole are ARNs.
	Role        string            `yaml:"role"`
	TargetRole  string            `yaml:"targetRole,omitempty"`
	DisableTags bool              `yaml:"disableSessionTags,omitempty"`
	Policy      Document          `yaml:"policy,omitempty"`
	Tags        map[string]string `yaml:"tags,omitempty"`
}

const defaultRegion = "us-east-1"

func (a *applier) clusters() error {
	for _, declared := range a.declared.Clusters {
		if err := a.cluster(declared); err != nil {
			return fmt.Errorf("cluster %q: %w", declared.Name, err)
		}
	}
	return nil
}

func (a *applier) cluster(declared Cluster) error {
	one := &eks.Cluster{
		Name:    declared.Name,
		Region:  cmp.Or(declared.Region, defaultRegion),
		Created: a.now,
		Mode:    "API",
	}
	if err := known(eks.GetCluster(a.State, one.Region, one.Name))(&one); err != nil {
		return err
	}
	one.RoleARN = declared.Role
	one.Version = cmp.Or(declared.Version, one.Version)
	one.Mode = cmp.Or(declared.Mode, one.Mode)
	one.Issuer = cmp.Or(declared.Issuer, one.Issuer)
	one.Endpoint = cmp.Or(declared.Endpoint, one.Endpoint)
	one.CA = cmp.Or(declared.CA, one.CA)
	var err error
	if one.Tags, err = eksTags(declared.Tags); err != nil {
		return err
	}
	if err := eks.CheckCluster(one); err != nil {
		return err
	}
	if err := eks.Complete(one); err != nil {
		return err
	}
	for _, entry := range declared.Entries {
		if err := a.entry(one, entry); err != nil {
			return fmt.Errorf("access entry %q: %w", entry.Principal, err)
		}
	}
	for _, association := range declared.Associations {
		if err := a.association(one, association); err != nil {
			return fmt.Errorf(
				"pod identity association of %s/%s: %w", association.Namespace, association.ServiceAccount, err,
			)
		}
	}
	return eks.PutCluster(a.State, one)
}

func eksTags(tags map[string]string) ([]account.Tag, error) {
	if problem := eks.CheckTags(tags); problem != "" {
		return nil, fmt.Errorf("tags: %s", problem)
	}
	return eks.Tags(tags), nil
}

func (a *applier) entry(cluster *eks.Cluster, declared AccessEntry) error {
	in := eks.In(a.State, cluster.Region, cluster.Name)
	one := &eks.AccessEntry{Principal: declared.Principal, Created: a.now, Modified: a.now}
	if err := known(in.Entry(declared.Principal))(&one); err != nil {
		return err
	}
	before := one.Policies
	one.Type, one.Username, one.Groups, one.Policies = declared.Type, declared.Username, declared.Groups, nil
	for _, policy := range declared.Policies {
		given := eks.AccessPolicy{
			ARN:        policy.ARN,
			Scope:      "cluster",
			Namespaces: policy.Namespaces,
			Associated: a.now,
			Modified:   a.now,
		}
		if len(policy.Namespaces) > 0 {
			given.Scope = "namespace"
		}
		if at := slices.IndexFunc(before, func(p eks.AccessPolicy) bool { return p.ARN == policy.ARN }); at >= 0 {
			given.Associated, given.Modified = before[at].Associated, before[at].Modified
		}
		one.Policies = append(one.Policies, given)
	}
	var err error
	if one.Tags, err = eksTags(declared.Tags); err != nil {
		return err
	}
	if err := eks.CompleteEntry(a.State, cluster, one); err != nil {
		return err
	}
	return in.PutEntry(one)
}

func (a *applier) association(cluster *eks.Cluster, declared Association) error {
	in := eks.In(a.State, cluster.Region, cluster.Name)
	one := &eks.Association{
		ID:             eks.NewAssociationID(),
		Namespace:      declared.Namespace,
		ServiceAccount: declared.ServiceAccount,
		Created:        a.now,
		Modified:       a.now,
	}
	if err := known(in.AssociationOf(declared.Namespace, declared.ServiceAccount))(&one); err != nil {
		return err
	}
	one.RoleARN, one.TargetRoleARN = declared.Role, declared.TargetRole
	one.DisableTags, one.Policy = declared.DisableTags, string(declared.Policy)
	var err error
	if one.Tags, err = eksTags(declared.Tags); err != nil {
		return err
	}
	if err := eks.CheckAssociation(one); err != nil {
		return err
	}
	if err := eks.CheckPodRole(a.State, one.RoleARN); err != nil {
		return err
	}
	return in.PutAssociation(one)
}

func dumpClusters(state account.State) ([]Cluster, error) {
	clusters, err := eks.Clusters(state)
	if err != nil {
		return nil, err
	}
	var list []Cluster
	for _, one := range clusters {
		declared := Cluster{
			Name:     one.Name,
			Region:   one.Region,
			Issuer:   one.Issuer,
			Endpoint: one.Endpoint,
			CA:       one.CA,
			Version:  one.Version,
			Role:     one.RoleARN,
			Mode:     one.Mode,
			Tags:     tagMap(one.Tags),
		}
		in := eks.In(state, one.Region, one.Name)
		entries, err := in.Entries()
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			declared.Entries = append(declared.Entries, dumpEntry(entry))
		}
		associations, err := in.Associations()
		if err != nil {
			return nil, err
		}
		for _, a := range associations {
			declared.Associations = append(declared.Associations, Association{
				Namespace:      a.Namespace,
				ServiceAccount: a.ServiceAccount,
				Role:           a.RoleARN,
				TargetRole:     a.TargetRoleARN,
				DisableTags:    a.DisableTags,
				Policy:         Document(a.Policy),
				Tags:           tagMap(a.Tags),
			})
		}
		slices.SortFunc(declared.Associations, func(a, b Association) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ServiceAccount, b.ServiceAccount))
		})
		list = append(list, declared)
	}
	return list, nil
}

func dumpEntry(one *eks.AccessEntry) AccessEntry {
	declared := AccessEntry{Principal: one.Principal, Tags: tagMap(one.Tags)}
	if one.Type == "STANDARD" { // EKS names the others itself
		declared.Username, declared.Groups = one.Username, one.Groups
	} else {
		declared.Type = one.Type
	}
	for _, policy := range one.Policies {
		declared.Policies = append(declared.Policies, AccessPolicy{policy.ARN, policy.Namespaces})
	}
	return declared
}
