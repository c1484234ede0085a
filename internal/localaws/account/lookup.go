package account

import (
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

// The tables of identities. Names are unique without regard to case: the key of
// users, groups, roles and policies is UniqueName, that of providers the issuer
// without scheme. Access keys are stored by id, together for all accounts.
var (
	userTable     = Table{Name: "user", Eventual: true}
	groupTable    = Table{Name: "group", Eventual: true}
	roleTable     = Table{Name: "role", Eventual: true}
	policyTable   = Table{Name: "policy", Eventual: true}
	providerTable = Table{Name: "provider", Eventual: true}
	keyTable      = Table{Name: "key", Shared: true, Eventual: true}
)

// Tables are those of identities.
func Tables() []Table {
	return []Table{userTable, groupTable, roleTable, policyTable, providerTable, keyTable}
}

func (s State) users() Records[User]             { return In[User](s, userTable) }
func (s State) groups() Records[Group]           { return In[Group](s, groupTable) }
func (s State) roles() Records[Role]             { return In[Role](s, roleTable) }
func (s State) policies() Records[ManagedPolicy] { return In[ManagedPolicy](s, policyTable) }
func (s State) providers() Records[Provider]     { return In[Provider](s, providerTable) }

func (a *Account) arn(resource string) string {
	return arn.ARN{Partition: a.Partition, Service: "iam", Account: a.ID, Resource: resource}.String()
}

// RoleARN returns the ARN of a role of this account.
func (a *Account) RoleARN(r *Role) string { return a.arn("role" + r.Path + r.Name) }

// UserARN returns the ARN of a user of this account.
func (a *Account) UserARN(u *User) string { return a.arn("user" + u.Path + u.Name) }

// GroupARN returns the ARN of a group of this account.
func (a *Account) GroupARN(g *Group) string { return a.arn("group" + g.Path + g.Name) }

// PolicyARN returns the ARN of a managed policy of this account, or of AWS's.
func (a *Account) PolicyARN(p *ManagedPolicy) string {
	if p.AWS {
		return "arn:" + a.Partition + awsPolicies + p.Path + p.Name
	}
	return a.arn("policy" + p.Path + p.Name)
}

// ProviderARN returns the ARN of a provider of this account.
func (a *Account) ProviderARN(p *Provider) string {
	return arn.OIDCProvider(a.Partition, a.ID, p.IssuerID).String()
}

// PolicyByARN returns a managed policy of this account or of AWS's, or
// ErrNotFound.
func (s State) PolicyByARN(text string) (*ManagedPolicy, error) {
	if strings.HasPrefix(text, "arn:"+s.account.Partition+awsPolicies) {
		for _, one := range AWSPolicies() {
			if s.account.PolicyARN(one) == text {
				return one, nil
			}
		}
		return nil, ErrNotFound
	}
	found, err := s.Policy(lastSegment(text))
	if err == nil && s.account.PolicyARN(found) != text {
		err = ErrNotFound
	}
	return found, err
}

// RoleByARN returns a role of this account by its whole ARN, or ErrNotFound: the
// path counts.
func (s State) RoleByARN(text string) (*Role, error) {
	found, err := s.Role(lastSegment(text))
	if err == nil && s.account.RoleARN(found) != text {
		err = ErrNotFound
	}
	return found, err
}

// User returns a user by name, in any letter case, or ErrNotFound.
func (s State) User(name string) (*User, error) {
	return s.users().Get(UniqueName(name))
}

// Users returns all users by name.
func (s State) Users() ([]*User, error) { return s.users().All() }

// UsersAfter calls f for the users after a name, until it has enough.
func (s State) UsersAfter(name string, f func(*User) (more bool)) error {
	return s.users().After(UniqueName(name), f)
}

// CountUsers returns how many users there are.
func (s State) CountUsers() int { return s.users().Count() }

// UsersMentioning returns the users in which a text stands as a whole.
func (s State) UsersMentioning(text string) ([]*User, error) {
	return s.users().Mentioning(text)
}

// PutUser creates or replaces a user.
func (s State) PutUser(one *User) error { return s.users().Put(UniqueName(one.Name), one) }

// DeleteUser removes a user.
func (s State) DeleteUser(name string) error {
	return s.users().Delete(UniqueName(name))
}

// Group returns a group by name, in any letter case, or ErrNotFound.
func (s State) Group(name string) (*Group, error) {
	return s.groups().Get(UniqueName(name))
}

// Groups returns all groups by name.
func (s State) Groups() ([]*Group, error) { return s.groups().All() }

// GroupsAfter calls f for the groups after a name, until it has enough.
func (s State) GroupsAfter(name string, f func(*Group) (more bool)) error {
	return s.groups().After(UniqueName(name), f)
}

// CountGroups returns how many groups there are.
func (s State) CountGroups() int { return s.groups().Count() }

// GroupsMentioning returns the groups in which a text stands as a whole.
func (s State) GroupsMentioning(text string) ([]*Group, error) {
	return s.groups().Mentioning(text)
}

// PutGroup creates or replaces a group.
func (s State) PutGroup(one *Group) error { return s.groups().Put(UniqueName(one.Name), one) }

// DeleteGroup removes a group.
func (s State) DeleteGroup(name string) error {
	return s.groups().Delete(UniqueName(name))
}

// Role returns a role by name, in any letter case, or ErrNotFound.
func (s State) Role(name string) (*Role, error) {
	return s.roles().Get(UniqueName(name))
}

// Roles returns all roles by name.
func (s State) Roles() ([]*Role, error) { return s.roles().All() }

// RolesAfter calls f for the roles after a name, until it has enough.
func (s State) RolesAfter(name string, f func(*Role) (more bool)) error {
	return s.roles().After(UniqueName(name), f)
}

// CountRoles returns how many roles there are.
func (s State) CountRoles() int { return s.roles().Count() }

// RolesMentioning returns the roles in which a text stands as a whole.
func (s State) RolesMentioning(text string) ([]*Role, error) {
	return s.roles().Mentioning(text)
}

// PutRole creates or replaces a role.
func (s State) PutRole(one *Role) error { return s.roles().Put(UniqueName(one.Name), one) }

// DeleteRole removes a role.
func (s State) DeleteRole(name string) error {
	return s.roles().Delete(UniqueName(name))
}

// Policy returns a managed policy of this account by name, in any letter case, or ErrNotFound.
func (s State) Policy(name string) (*ManagedPolicy, error) {
	return s.policies().Get(UniqueName(name))
}

// Policies returns all managed policies by name.
func (s State) Policies() ([]*ManagedPolicy, error) { return s.policies().All() }

// PoliciesAfter calls f for the managed policies after a name, until it has enough.
func (s State) PoliciesAfter(name string, f func(*ManagedPolicy) (more bool)) error {
	return s.policies().After(UniqueName(name), f)
}

// CountPolicies returns how many managed policies there are.
func (s State) CountPolicies() int { return s.policies().Count() }

// PutPolicy creates or replaces a managed policy.
func (s State) PutPolicy(one *ManagedPolicy) error {
	return s.policies().Put(UniqueName(one.Name), one)
}

// DeletePolicy removes a managed policy.
func (s State) DeletePolicy(name string) error {
	return s.policies().Delete(UniqueName(name))
}

// Provider returns a provider by its issuer without scheme, or ErrNotFound.
func (s State) Provider(issuerID string) (*Provider, error) {
	return s.providers().Get(issuerID)
}

// Providers returns all providers by issuer.
func (s State) Providers() ([]*Provider, error) { return s.providers().All() }

// CountProviders returns how many providers there are.
func (s State) CountProviders() int { return s.providers().Count() }

// PutProvider creates or replaces a provider.
func (s State) PutProvider(p *Provider) error { return s.providers().Put(p.IssuerID, p) }

// DeleteProvider removes a provider.
func (s State) DeleteProvider(issuerID string) error {
	return s.providers().Delete(issuerID)
}
