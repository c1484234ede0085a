package iam

import (
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// named is a kind of things of which a request names one, by a parameter.
type named[T any] struct {
	noun, parameter string
	limit           wire.Constraint
	find            func(account.State, string) (T, error)
}

// view does something with what the request names.
func (n named[T]) view(q *service.Call, do func(account.State, T) error) error {
	return n.within(q, q.Account.View, "read", do)
}

// update is view for what changes the account, all or nothing; doing is what, in
// the text of an error.
func (n named[T]) update(q *service.Call, doing string, do func(account.State, T) error) error {
	return n.within(q, q.Account.Update, doing, do)
}

func (n named[T]) within(q *service.Call, transaction func(func(account.State) error) error, doing string, do func(account.State, T) error) error {
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
