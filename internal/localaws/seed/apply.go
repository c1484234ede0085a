package seed

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/iam"
	"github.com/rolecall/rolecall/internal/policy"
)

// Apply brings what a file declares into the accounts: all of it, or nothing
// except new accounts. What exists already is changed to what is declared and
// keeps its identity; what is not declared stays as it is. Applied twice, it
// changes nothing more.
func Apply(set *account.Set, file *File, now time.Time) error {
	ids := make([]string, len(file.Accounts))
	for i, declared := range file.Accounts {
		ids[i] = declared.ID
		if declared.ID == "" {
			ids[i] = set.Default().ID
		}
		if slices.Contains(ids[:i], ids[i]) {
			return fault.New(fault.Invalid, "account %s is declared twice", ids[i])
		}
		if !arn.IsAccount(ids[i]) {
			return fault.New(fault.Invalid, "account %q: want 12 digits", ids[i])
		}
	}
	for _, id := range ids {
		if _, err := set.Add(id, now); err != nil {
			return err
		}
	}
	return set.Update(func(state account.State) error {
		// What others refer to comes first, in all accounts; what refers to it
		// comes later.
		for _, phase := range []func(*applier) error{
			(*applier).providers, (*applier).policies, (*applier).groups, (*applier).users, (*applier).roles,
			(*applier).trusts, (*applier).profiles, (*applier).clusters,
		} {
			for i, declared := range file.Accounts {
				of, err := state.In(ids[i])
				if err != nil {
					return err
				}
				if err := phase(&applier{State: of, declared: declared, now: now.UTC()}); err != nil {
					return fault.New(fault.Invalid, "account %s: %w", ids[i], err)
				}
			}
		}
		return nil
	})
}

// applier applies one account's declaration.
type applier struct {
	account.State
	declared Account
	now      time.Time
}

func (a *applier) providers() error {
	for _, declared := range a.declared.Providers {
		if err := iam.CheckURL(declared.URL); err != nil {
			return fmt.Errorf("provider %q: %w", declared.URL, err)
		}
		tags, err := tagList(declared.Tags)
		if err != nil {
			return fmt.Errorf("provider %q: %w", declared.URL, err)
		}
		one := &account.Provider{IssuerID: arn.IssuerID(declared.URL), Created: a.now}
		if err := known(a.Provider(one.IssuerID))(&one); err != nil {
			return err
		}
		one.ClientIDs, one.Thumbprints, one.Tags = declared.ClientIDs, declared.Thumbprints, tags
		if err := a.PutProvider(one); err != nil {
			return err
		}
	}
	return nil
}

// known replaces a new entity by the one that was found.
func known[T any](found *T, err error) func(**T) error {
	return func(one **T) error {
		if errors.Is(err, account.ErrNotFound) {
			return nil
		}
		if err == nil {
			*one = found
		}
		return err
	}
}

func (a *applier) policies() error {
	for _, declared := range a.declared.Policies {
		path, tags, err := common(declared.Name, declared.Path, 128, declared.Tags)
		if err == nil {
			err = iam.CheckManaged(string(declared.Document))
		}
		if err != nil {
			return fmt.Errorf("policy %q: %w", declared.Name, err)
		}
		one := &account.ManagedPolicy{
			Name:    declared.Name,
			Path:    path,
			ID:      account.NewPolicyID(),
			Created: a.now,
			Updated: a.now,
		}
		if err := known(a.Policy(declared.Name))(&one); err != nil {
			return err
		}
		if one.Path != path {
			return moved("policy", declared.Name, one.Path, path)
		}
		one.Description, one.Tags = declared.Description, tags
		if one.Default().Text != string(declared.Document) {
			iam.AddVersion(one, string(declared.Document), a.now)
		}
		if err := a.PutPolicy(one); err != nil {
			return err
		}
	}
	return nil
}

func moved(kind, name, from, to string) error {
	return fmt.Errorf("%s %q has the path %s, which cannot become %s", kind, name, from, to)
}

func (a *applier) groups() error {
	for _, declared := range a.declared.Groups {
		path, _, err := common(declared.Name, declared.Path, 128, nil)
		if err != nil {
			return fmt.Errorf("group %q: %w", declared.Name, err)
		}
		one := &account.Group{Name: declared.Name, Path: path, ID: account.NewGroupID(), Created: a.now}
		if err := known(a.Group(declared.Name))(&one); err != nil {
			return err
		}
		one.Path = path
		if one.Permissions, err = a.permissions(declared.Permissions); err != nil {
			return fmt.Errorf("group %q: %w", declared.Name, err)
		}
		if err := a.PutGroup(one); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) users() error {
	for _, declared := range a.declared.Users {
		if err := a.user(declared); err != nil {
			return fmt.Errorf("user %q: %w", declared.Name, err)
		}
	}
	return nil
}

func (a *applier) user(declared User) error {
	path, tags, err := common(declared.Name, declared.Path, 64, declared.Tags)
	if err != nil {
		return err
	}
	one := &account.User{Name: declared.Name, Path: path, ID: account.NewUserID(), Created: a.now}
	if err := known(a.User(declared.Name))(&one); err != nil {
		return err
	}
	one.Path, one.Tags, one.Boundary, one.Groups = path, tags, declared.Boundary, declared.Groups
	if one.Permissions, err = a.permissions(declared.Permissions); err != nil {
		return err
	}
	if err := a.managed(declared.Boundary); err != nil {
		return err
	}
	for _, group := range declared.Groups {
		if _, err := a.Group(group); err != nil {
			return fmt.Errorf("group %q: %w", group, err)
		}
	}
	for _, key := range declared.AccessKeys {
		if err := a.key(declared.Name, key); err != nil {
			return err
		}
	}
	return a.PutUser(one)
}

func (a *applier) key(user string, declared AccessKey) error {
	if err := iam.CheckAccessKey(declared.ID, declared.Secret); err != nil {
		return err
	}
	one := &account.AccessKey{ID: declared.ID, Created: a.now}
	if err := known(a.Key(declared.ID))(&one); err != nil {
		return err
	}
	if one.User != "" && (!strings.EqualFold(one.User, user) || one.Account != a.Account().ID) {
		return fmt.Errorf("access key %s belongs to user %s of account %s", one.ID, one.User, one.Account)
	}
	one.User, one.Secret, one.Inactive = user, credential.NewSecret(declared.Secret), declared.Inactive
	return a.PutKey(one)
}

// roles makes the roles; their trust policies are written once all roles exist,
// since they may name any of them.
func (a *applier) roles() error {
	for _, declared := range a.declared.Roles {
		if err := a.role(declared); err != nil {
			return fmt.Errorf("role %q: %w", declared.Name, err)
		}
	}
	return nil
}

func (a *applier) role(declared Role) error {
	path, tags, err := common(declared.Name, declared.Path, 64, declared.Tags)
	if err != nil {
		return err
	}
	one := &account.Role{Name: declared.Name, Path: path, ID: account.NewRoleID(), Created: a.now}
	if err := known(a.Role(declared.Name))(&one); err != nil {
		return err
	}
	if one.Path != path {
		return moved("role", declared.Name, one.Path, path)
	}
	one.Description, one.Tags, one.Boundary = declared.Description, tags, declared.Boundary
	if one.MaxSession = declared.MaxSession; one.MaxSession == 0 {
		one.MaxSession = 3600
	}
	if one.MaxSession < 3600 || one.MaxSession > 43200 {
		return fmt.Errorf("maxSession %d: must be 3600 to 43200 seconds", one.MaxSession)
	}
	if one.Permissions, err = a.permissions(declared.Permissions); err != nil {
		return err
	}
	if err := a.managed(declared.Boundary); err != nil {
		return err
	}
	return a.PutRole(one)
}

func (a *applier) trusts() error {
	for _, declared := range a.declared.Roles {
		trust, err := policy.Parse(policy.Trust, "trust", []byte(declared.Trust))
		if err != nil {
			return fmt.Errorf("role %q: %w", declared.Name, err)
		}
		one, err := a.Role(declared.Name)
		if err != nil {
			return err
		}
		if one.Trust == string(declared.Trust) {
			continue // the ids it was bound to stay
		}
		if err := iam.SetTrust(a.State, one, trust); err != nil {
			return fmt.Errorf("role %q: %w", declared.Name, err)
		}
		if err := a.PutRole(one); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) profiles() error {
	for _, declared := range a.declared.InstanceProfiles {
		path, tags, err := common(declared.Name, declared.Path, 128, declared.Tags)
		if err == nil && declared.Role != "" {
			_, err = a.Role(declared.Role)
		}
		if err != nil {
			return fmt.Errorf("instance profile %q: %w", declared.Name, err)
		}
		one := &iam.InstanceProfile{Name: declared.Name, Path: path, ID: iam.NewProfileID(), Created: a.now}
		if err := known(iam.Profile(a.State, declared.Name))(&one); err != nil {
			return err
		}
		one.Path, one.Tags, one.Role = path, tags, declared.Role
		if err := iam.PutProfile(a.State, one); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) permissions(declared Permissions) (account.Permissions, error) {
	var given account.Permissions
	for _, name := range slices.Sorted(maps.Keys(declared.Inline)) {
		if err := iam.CheckInline(name, string(declared.Inline[name])); err != nil {
			return given, fmt.Errorf("inline policy %q: %w", name, err)
		}
		given.Policies = append(given.Policies, account.Document{Name: name, Text: string(declared.Inline[name])})
	}
	for _, attached := range declared.Attached {
		if err := a.managed(attached); err != nil {
			return given, err
		}
		given.Attached = append(given.Attached, attached)
	}
	return given, nil
}

func (a *applier) managed(arn string) error {
	if arn == "" {
		return nil
	}
	if _, err := a.PolicyByARN(arn); err != nil {
		return fmt.Errorf("managed policy %s: %w", arn, err)
	}
	return nil
}

// common checks what all entities have.
func common(name, path string, limit int, tags map[string]string) (string, []account.Tag, error) {
	if path == "" {
		path = "/"
	}
	if err := iam.CheckName(name, path, limit); err != nil {
		return "", nil, err
	}
	list, err := tagList(tags)
	return path, list, err
}

func tagList(tags map[string]string) ([]account.Tag, error) {
	var list []account.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, account.Tag{Key: key, Value: tags[key]})
	}
	return list, iam.CheckTags(list)
}
