package iam

import (
	"errors"
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func keyOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreateAccessKey":      {Target: ownTarget, Do: createKey},
		"ListAccessKeys":       {Target: ownTarget, Do: listKeys},
		"UpdateAccessKey":      {Target: ownTarget, Do: updateKey},
		"DeleteAccessKey":      {Target: ownTarget, Do: deleteKey},
		"GetAccessKeyLastUsed": {Do: getKeyLastUsed},
	}
}

type keyXML struct {
	UserName        string
	AccessKeyID     string `xml:"AccessKeyId" json:"AccessKeyId"`
	Status          string
	SecretAccessKey string `xml:",omitempty" json:",omitempty"` // only in the answer that creates it
	CreateDate      wire.Time
}

func newKeyXML(key *account.AccessKey) keyXML {
	shown := keyXML{UserName: key.User, AccessKeyID: key.ID, Status: "Active", CreateDate: wire.Time(key.Created)}
	if key.Inactive {
		shown.Status = "Inactive"
	}
	return shown
}

type createdKey struct{ AccessKey keyXML }

func createKey(q *service.Call) (any, error) {
	name, err := ownName(q)
	if err != nil {
		return nil, err
	}
	var result createdKey
	err = q.Account.Update(func(state account.State) error {
		user, err := findUser(state, name)
		if err != nil {
			return err
		}
		keys, err := state.Keys(user.Name)
		if err != nil {
			return err
		}
		if len(keys) >= maxKeys {
			return limitExceeded("Cannot exceed quota for AccessKeysPerUser: %d", maxKeys)
		}
		made := q.Account.NewKey(user.Name, q.Time)
		result.AccessKey = newKeyXML(made)
		result.AccessKey.SecretAccessKey = made.Secret.Reveal()
		return state.PutKey(made)
	})
	if err != nil {
		return nil, wrap(err, "make an access key of user %q", name)
	}
	return result, nil
}

type keysResult struct {
	AccessKeyMetadata wire.List[keyXML]
	pageEnd
}

func listKeys(q *service.Call) (any, error) {
	name, err := ownName(q)
	if err != nil {
		return nil, err
	}
	var keys []*account.AccessKey
	err = q.Account.View(func(state account.State) error {
		user, err := findUser(state, name)
		if err != nil {
			return err
		}
		keys, err = state.Keys(user.Name)
		return err
	})
	if err != nil {
		return nil, wrap(err, "list access keys of user %q", name)
	}
	onPage, end, err := page(q, keys, func(k *account.AccessKey) string { return k.ID })
	if err != nil {
		return nil, err
	}
	result := keysResult{pageEnd: end}
	for _, key := range onPage {
		result.AccessKeyMetadata = append(result.AccessKeyMetadata, newKeyXML(key))
	}
	return result, nil
}

var keyIDLimit = wire.Constraint{Min: 16, Max: 128, Pattern: validKeyParameter}

// onKey does something with the access key of the request.
func onKey(q *service.Call, do func(account.State, *account.AccessKey) error) (any, error) {
	id := q.Text("AccessKeyId", keyIDLimit)
	name, err := ownName(q)
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		return nil, err
	}
	return nil, wrap(q.Account.Update(func(state account.State) error {
		user, err := findUser(state, name)
		if err != nil {
			return err
		}
		key, err := state.Key(id)
		switch {
		case errors.Is(err, account.ErrNotFound), err == nil && (key.Account != q.Account.ID || key.User != user.Name):
			return noSuchEntity("The Access Key with id %s cannot be found.", id)
		case err != nil:
			return err
		}
		return do(state, key)
	}), "change access key %q", id)
}

func updateKey(q *service.Call) (any, error) {
	status := q.Text("Status", wire.Constraint{})
	if q.Has("Status") && status != "Active" && status != "Inactive" {
		return nil, wire.Errorf(
			http.StatusBadRequest, "ValidationError",
			"1 validation error detected: Value '%s' at 'status' failed to satisfy constraint: Member must satisfy "+
				"enum value set: [Active, Inactive]",
			status,
		)
	}
	return onKey(q, func(state account.State, key *account.AccessKey) error {
		key.Inactive = status == "Inactive"
		return state.PutKey(key)
	})
}

func deleteKey(q *service.Call) (any, error) {
	return onKey(q, func(state account.State, key *account.AccessKey) error { return state.DeleteKey(key.ID) })
}

type keyLastUsed struct {
	UserName          string
	AccessKeyLastUsed struct{ ServiceName, Region string }
}

// getKeyLastUsed says whose key it is; when it was used is not recorded.
func getKeyLastUsed(q *service.Call) (any, error) {
	id := q.Text("AccessKeyId", keyIDLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	result := keyLastUsed{}
	result.AccessKeyLastUsed.ServiceName, result.AccessKeyLastUsed.Region = "N/A", "N/A"
	err := q.Account.View(func(state account.State) error {
		key, err := state.Key(id)
		switch {
		case errors.Is(err, account.ErrNotFound), err == nil && key.Account != q.Account.ID:
			return noSuchEntity("The Access Key with id %s cannot be found.", id)
		case err == nil:
			result.UserName = key.User
		}
		return err
	})
	return result, wrap(err, "read access key %q", id)
}
