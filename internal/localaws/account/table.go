package account

import (
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

func (a *Account) arn(resource string) string {
	return arn.ARN{Partition: a.Partition, Service: "iam", Account: a.ID, Resource: resource}.String()
}

// RoleARN returns the ARN of a role of this account.
func (a *Account) RoleARN(r *Role) string { return a.arn("role" + r.Path + r.Name) }

// UserARN returns the ARN of a user of this account.
func (a *Account) UserARN(u *User) string { return a.arn("user" + u.Path + u.Name) }

// GroupARN returns the ARN of a group of this account.
func (a *Account) GroupARN(g *Group) string { return a.arn("group" + g.Path + g.Name) }

// ProfileARN returns the ARN of an instance profile of this account.
func (a *Account) ProfileARN(p *InstanceProfile) string {
	return a.arn("instance-profile" + p.Path + p.Name)
}

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
	return get[User](s, s.kind(kindUser), entityKey(name))
}

// Users returns all users by name.
func (s State) Users() ([]*User, error) { return all[User](s, s.kind(kindUser)) }

// UsersAfter calls f for the users after a name, until it has enough.
func (s State) UsersAfter(name string, f func(*User) (more bool)) error {
	return after(s, s.kind(kindUser), entityKey(name), f)
}

// CountUsers returns how many users there are.
func (s State) CountUsers() int { return s.reader.Count(s.kind(kindUser)) }

// UsersMentioning returns the users in which a text stands as a whole.
func (s State) UsersMentioning(text string) ([]*User, error) {
	return mentioning[User](s, s.kind(kindUser), text)
}

// PutUser creates or replaces a user.
func (s State) PutUser(one *User) error { return put(s, s.kind(kindUser), entityKey(one.Name), one) }

// DeleteUser removes a user.
func (s State) DeleteUser(name string) error {
	return s.writer.Delete(s.kind(kindUser), entityKey(name))
}

// Group returns a group by name, in any letter case, or ErrNotFound.
func (s State) Group(name string) (*Group, error) {
	return get[Group](s, s.kind(kindGroup), entityKey(name))
}

// Groups returns all groups by name.
func (s State) Groups() ([]*Group, error) { return all[Group](s, s.kind(kindGroup)) }

// GroupsAfter calls f for the groups after a name, until it has enough.
func (s State) GroupsAfter(name string, f func(*Group) (more bool)) error {
	return after(s, s.kind(kindGroup), entityKey(name), f)
}

// CountGroups returns how many groups there are.
func (s State) CountGroups() int { return s.reader.Count(s.kind(kindGroup)) }

// GroupsMentioning returns the groups in which a text stands as a whole.
func (s State) GroupsMentioning(text string) ([]*Group, error) {
	return mentioning[Group](s, s.kind(kindGroup), text)
}

// PutGroup creates or replaces a group.
func (s State) PutGroup(one *Group) error { return put(s, s.kind(kindGroup), entityKey(one.Name), one) }

// DeleteGroup removes a group.
func (s State) DeleteGroup(name string) error {
	return s.writer.Delete(s.kind(kindGroup), entityKey(name))
}

// Role returns a role by name, in any letter case, or ErrNotFound.
func (s State) Role(name string) (*Role, error) {
	return get[Role](s, s.kind(kindRole), entityKey(name))
}

// Roles returns all roles by name.
func (s State) Roles() ([]*Role, error) { return all[Role](s, s.kind(kindRole)) }

// RolesAfter calls f for the roles after a name, until it has enough.
func (s State) RolesAfter(name string, f func(*Role) (more bool)) error {
	return after(s, s.kind(kindRole), entityKey(name), f)
}

// CountRoles returns how many roles there are.
func (s State) CountRoles() int { return s.reader.Count(s.kind(kindRole)) }

// RolesMentioning returns the roles in which a text stands as a whole.
func (s State) RolesMentioning(text string) ([]*Role, error) {
	return mentioning[Role](s, s.kind(kindRole), text)
}

// PutRole creates or replaces a role.
func (s State) PutRole(one *Role) error { return put(s, s.kind(kindRole), entityKey(one.Name), one) }

// DeleteRole removes a role.
func (s State) DeleteRole(name string) error {
	return s.writer.Delete(s.kind(kindRole), entityKey(name))
}

// Policy returns a managed policy of this account by name, in any letter case, or ErrNotFound.
func (s State) Policy(name string) (*ManagedPolicy, error) {
	return get[ManagedPolicy](s, s.kind(kindPolicy), entityKey(name))
}

// Policies returns all managed policies by name.
func (s State) Policies() ([]*ManagedPolicy, error) { return all[ManagedPolicy](s, s.kind(kindPolicy)) }

// PoliciesAfter calls f for the managed policies after a name, until it has enough.
func (s State) PoliciesAfter(name string, f func(*ManagedPolicy) (more bool)) error {
	return after(s, s.kind(kindPolicy), entityKey(name), f)
}

// CountPolicies returns how many managed policies there are.
func (s State) CountPolicies() int { return s.reader.Count(s.kind(kindPolicy)) }

// PutPolicy creates or replaces a managed policy.
func (s State) PutPolicy(one *ManagedPolicy) error {
	return put(s, s.kind(kindPolicy), entityKey(one.Name), one)
}

// DeletePolicy removes a managed policy.
func (s State) DeletePolicy(name string) error {
	return s.writer.Delete(s.kind(kindPolicy), entityKey(name))
}

// Profile returns an instance profile by name, in any letter case, or ErrNotFound.
func (s State) Profile(name string) (*InstanceProfile, error) {
	return get[InstanceProfile](s, s.kind(kindProfile), entityKey(name))
}

// Profiles returns all instance profiles by name.
func (s State) Profiles() ([]*InstanceProfile, error) {
	return all[InstanceProfile](s, s.kind(kindProfile))
}

// ProfilesAfter calls f for the instance profiles after a name, until it has enough.
func (s State) ProfilesAfter(name string, f func(*InstanceProfile) (more bool)) error {
	return after(s, s.kind(kindProfile), entityKey(name), f)
}

// CountProfiles returns how many instance profiles there are.
func (s State) CountProfiles() int { return s.reader.Count(s.kind(kindProfile)) }

// ProfilesMentioning returns the instance profiles in which a text stands as a whole.
func (s State) ProfilesMentioning(text string) ([]*InstanceProfile, error) {
	return mentioning[InstanceProfile](s, s.kind(kindProfile), text)
}

// PutProfile creates or replaces an instance profile.
func (s State) PutProfile(one *InstanceProfile) error {
	return put(s, s.kind(kindProfile), entityKey(one.Name), one)
}

// DeleteProfile removes an instance profile.
func (s State) DeleteProfile(name string) error {
	return s.writer.Delete(s.kind(kindProfile), entityKey(name))
}

// Provider returns a provider by its issuer without scheme, or ErrNotFound.
func (s State) Provider(issuerID string) (*Provider, error) {
	return get[Provider](s, s.kind(kindProvider), issuerID)
}

// Providers returns all providers by issuer.
func (s State) Providers() ([]*Provider, error) { return all[Provider](s, s.kind(kindProvider)) }

// CountProviders returns how many providers there are.
func (s State) CountProviders() int { return s.reader.Count(s.kind(kindProvider)) }

// PutProvider creates or replaces a provider.
func (s State) PutProvider(p *Provider) error { return put(s, s.kind(kindProvider), p.IssuerID, p) }

// DeleteProvider removes a provider.
func (s State) DeleteProvider(issuerID string) error {
	return s.writer.Delete(s.kind(kindProvider), issuerID)
}
