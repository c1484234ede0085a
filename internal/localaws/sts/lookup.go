package sts

import (
	"errors"
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// notOfUser refuses the sessions that users make for themselves or for others:
// at STS they may only assume roles, and ask who they are.
func notOfUser(q *service.Call) error {
	if q.Caller.IsSession() && q.Caller.Principal.Kind != policy.RoleSession {
		return longTerm(q)
	}
	return nil
}

// accessKeyInfo is GetAccessKeyInfo: the account that a key belongs to, whether
// or not the key works.
func accessKeyInfo(q *service.Call) (any, error) {
	if err := notOfUser(q); err != nil {
		return nil, err
	}
	id := q.Text("AccessKeyId", accessKeyLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	key, err := q.Accounts.Key(id)
	if err == nil {
		return accessKeyResult{key.Account}, nil
	}
	if !errors.Is(err, account.ErrNotFound) {
		return nil, err
	}
	if number := account.AccountOfKey(id); number != "" {
		return accessKeyResult{number}, nil
	}
	return nil, validationError("The access key id %s is invalid.", id).
		Because("no account here has it, and it does not name one")
}

// decodeMessage is DecodeAuthorizationMessage, for what a refusal of this
// account said in its encoded part.
func decodeMessage(q *service.Call) (any, error) {
	if err := notOfUser(q); err != nil {
		return nil, err
	}
	message := q.Text("EncodedMessage", messageLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	text, err := q.Account.OpenMessage(message)
	if err != nil {
		return nil, wire.Errorf(
			http.StatusBadRequest, "InvalidAuthorizationMessageException", "Message is not valid",
		).Because("%s", err)
	}
	return decodedResult{string(text)}, nil
}
