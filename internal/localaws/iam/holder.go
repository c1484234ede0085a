package iam

import (
	"errors"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// kind is one of the three kinds of entities that have permissions: users,
// groups and roles. What all of them have is written once for the three.
type kind struct {
	// word begins the names of parameters and occurs in those of operations.
	word string
	// inlineQuota limits all inline policies of one entity together.
	inlineQuota int
	name        wire.Constraint
	find        func(account.State, string) (*holder, error)
}

// holder is one user, group or role.
type holder struct {
	name        string
	permissions *account.Permissions
	boundary    *string        // nil for groups
	tags        *[]account.Tag // nil for groups
	arn         string
	save        func(account.State) error
	// protected is why its permissions cannot be changed; nil if they can.
	protected error
}

func kinds() []kind {
	return []kind{userKind(), groupKind(), roleKind()}
}

func userKind() kind {
	return kind{"User", userInlineQuota, nameLimit, func(state account.State, name string) (*holder, error) {
		user, err := findUser(state, name)
		if err != nil {
			return nil, err
		}
		save := func(state account.State) error { return state.PutUser(user) }
		return &holder{
			name:        user.Name,
			permissions: &user.Permissions,
			boundary:    &user.Boundary,
			tags:        &user.Tags,
			arn:         state.Account().UserARN(user),
			save:        save,
		}, nil
	}}
}

func groupKind() kind {
	return kind{"Group", groupInlineQuota, longNameLimit, func(state account.State, name string) (*holder, error) {
		group, err := findGroup(state, name)
		if err != nil {
			return nil, err
		}
		save := func(state account.State) error { return state.PutGroup(group) }
		return &holder{group.Name, &group.Permissions, nil, nil, state.Account().GroupARN(group), save, nil}, nil
	}}
}

func roleKind() kind {
	return kind{"Role", roleInlineQuota, nameLimit, func(state account.State, name string) (*holder, error) {
		role, err := findRole(state, name)
		if err != nil {
			return nil, err
		}
		save := func(state account.State) error { return state.PutRole(role) }
		return &holder{
			name:        role.Name,
			permissions: &role.Permissions,
			boundary:    &role.Boundary,
			tags:        &role.Tags,
			arn:         state.Account().RoleARN(role),
			save:        save,
			protected:   modifiable(role),
		}, nil
	}}
}

// parameter is the one that names the entity.
func (k kind) parameter() string { return k.word + "Name" }

// lower is the kind's name within a sentence.
func (k kind) lower() string { return strings.ToLower(k.word) }

func (k kind) named() named[*holder] { return named[*holder]{k.lower(), k.parameter(), k.name, k.find} }

// read reads the entity of the request.
func (k kind) read(q *service.Call) (found *holder, err error) {
	err = k.named().view(q, func(_ account.State, one *holder) error {
		found = one
		return nil
	})
	return found, err
}

// change applies a change to the entity of the request, all or nothing.
func (k kind) change(q *service.Call, apply func(account.State, *holder) error) error {
	return k.named().update(q, "change", func(state account.State, found *holder) error {
		if err := apply(state, found); err != nil {
			return err
		}
		return found.save(state)
	})
}

// changePermissions is change for permissions: those of AWS's own roles only AWS
// may change.
func (k kind) changePermissions(q *service.Call, apply func(account.State, *holder) error) error {
	return k.change(q, func(state account.State, one *holder) error {
		if one.protected != nil {
			return one.protected
		}
		return apply(state, one)
	})
}

// target is what policies see. For an entity that does not exist it is built
// from the request.
func (k kind) target(q *service.Call) (service.Target, error) {
	path := q.Get("Path")
	if path == "" {
		path = "/"
	}
	target := service.Target{
		ARN:     "arn:" + q.Account.Partition + ":iam::" + q.Account.ID + ":" + k.lower() + path + q.Get(k.parameter()),
		Context: map[string]string{},
	}
	if q.Has("PolicyArn") {
		target.Context["iam:PolicyARN"] = q.Get("PolicyArn")
	}
	if q.Has("PermissionsBoundary") {
		target.Context["iam:PermissionsBoundary"] = q.Get("PermissionsBoundary")
	}
	err := q.Account.View(func(state account.State) error {
		found, err := k.find(state, q.Get(k.parameter()))
		if err != nil {
			if _, missing := errors.AsType[*wire.Error](err); missing {
				return nil
			}
			return err
		}
		target.ARN = found.arn
		if found.tags != nil {
			target.Tags = *found.tags
		}
		if found.boundary != nil && *found.boundary != "" && !q.Has("PermissionsBoundary") {
			target.Context["iam:PermissionsBoundary"] = *found.boundary
		}
		return nil
	})
	return target, err
}

// below is the target of operations on all entities below a path.
func below(word string) func(*service.Call) (service.Target, error) {
	return func(q *service.Call) (service.Target, error) {
		prefix := q.Get("PathPrefix")
		if prefix == "" {
			prefix = "/"
		}
		return service.Target{ARN: "arn:" + q.Account.Partition + ":iam::" + q.Account.ID + ":" + word + prefix}, nil
	}
}

// holderOperations lists what users, groups and roles all have.
func holderOperations() map[string]service.Operation {
	operations := map[string]service.Operation{}
	for _, k := range kinds() {
		on := func(do func(kind, *service.Call) (any, error)) service.Operation {
			return service.Operation{Target: k.target, Do: func(q *service.Call) (any, error) { return do(k, q) }}
		}
		operations["Put"+k.word+"Policy"] = on(putInline)
		operations["Get"+k.word+"Policy"] = on(getInline)
		operations["Delete"+k.word+"Policy"] = on(deleteInline)
		operations["List"+k.word+"Policies"] = on(listInline)
		operations["Attach"+k.word+"Policy"] = on(attach)
		operations["Detach"+k.word+"Policy"] = on(detach)
		operations["ListAttached"+k.word+"Policies"] = on(listAttached)
		if k.word == "Group" {
			continue
		}
		operations["Put"+k.word+"PermissionsBoundary"] = on(putBoundary)
		operations["Delete"+k.word+"PermissionsBoundary"] = on(deleteBoundary)
		operations["Tag"+k.word] = on(tagHolder)
		operations["Untag"+k.word] = on(untagHolder)
		operations["List"+k.word+"Tags"] = on(listHolderTags)
	}
	return operations
}

func tagHolder(k kind, q *service.Call) (any, error) {
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	return nil, k.change(q, func(_ account.State, one *holder) (err error) {
		*one.tags, err = mergeTags(*one.tags, tags)
		return err
	})
}

func untagHolder(k kind, q *service.Call) (any, error) {
	return nil, k.change(q, func(_ account.State, one *holder) error {
		*one.tags = removeTags(*one.tags, q.List("TagKeys"))
		return nil
	})
}

func listHolderTags(k kind, q *service.Call) (any, error) {
	one, err := k.read(q)
	if err != nil {
		return nil, err
	}
	return listTags(q, *one.tags)
}

// named is a kind of things of which a request names one, by a parameter.
type named[T any] struct {
	noun, parameter string
	limit           wire.Constraint
	find            func(account.State, string) (T, error)
}

// view does something with the thing that the request names.
func (n named[T]) view(q *service.Call, do func(account.State, T) error) error {
	return n.within(q, q.Account.View, "read", do)
}

// update is view for calls that change the account, all or nothing; doing
// describes the change in the text of an error.
func (n named[T]) update(q *service.Call, doing string, do func(account.State, T) error) error {
	return n.within(q, q.Account.Update, doing, do)
}

func (n named[T]) within(
	q *service.Call, transaction func(func(account.State) error) error, doing string, do func(account.State, T) error,
) error {
	name := q.Text(n.parameter, n.limit)
	if err := q.Check(); err != nil {
		return err
	}
	return wrap(transaction(func(state account.State) error {
		one, err := n.find(state, name)
		if err != nil {
			return err
		}
		return do(state, one)
	}), "%s %s %q", doing, n.noun, name)
}
