// Package service is the form in which the rooms of local AWS declare what they
// can do: operations by name, what each works on, and the function that does
// it.
//
// It finds, authenticates and authorises nothing; see package localaws.
package service

import (
	"net/http"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// Service is one AWS service. Name, Protocol and Operations are required.
type Service struct {
	// Name is that in credential scopes and host names; it is also the prefix
	// of the service's actions.
	Name     string
	Protocol wire.Protocol
	// Version and Namespace are those of Query and XML services.
	Version, Namespace string
	// Target is the part before the dot in X-Amz-Target, for JSON services.
	Target string
	// Operations are what is emulated, by name.
	Operations map[string]Operation
	// Tables are where the service keeps its records in the accounts' store.
	Tables []account.Table
	// Others are names of operations that AWS has and that are not emulated. If
	// none are listed, every other name may be one.
	Others []string
	// Route names the operation of a REST call by its method, host and path;
	// empty if there is none.
	Route func(*Call) string
	// Unsigned says that unsigned calls which name no service are meant for
	// this one. There can be one such service.
	Unsigned bool
}

// Access says who may call an operation.
type Access int

// The ways in which calls are let through.
const (
	// ByPolicy requires a signature, and policies that allow the operation's
	// name on its target.
	ByPolicy Access = iota
	// Signed requires a signature; the operation decides the rest.
	Signed
	// Anybody requires nothing, and ignores a signature.
	Anybody
	// ByItself admits callers without a signature too, as anonymous ones; the
	// operation asks Call.Allow for each action it needs.
	ByItself
)

// Operation is one action of a service.
type Operation struct {
	Access Access
	// Target says what the call works on, for ByPolicy; nil means "*".
	Target func(*Call) (Target, error)
	// Before refuses a call by what is known before its body is read, for
	// ByItself; nil refuses none. Do decides again.
	Before func(*Call) error
	// MaxBody is the largest body in bytes; 0 is wire.MaxBody.
	MaxBody int64
	// Do does it and answers; a nil result is an empty answer, a *wire.Raw one
	// of the operation's own form.
	Do func(*Call) (any, error)
}

// Target is what a call works on, as policies see it.
type Target struct {
	ARN string // or "*"
	// Owner is the number of the account it belongs to; the caller's if empty.
	Owner string
	// Tags are the target's own, as aws:ResourceTag.
	Tags []account.Tag
	// Policy is the target's resource policy, if it has one.
	Policy *policy.Policy
	// Context holds more condition keys of the call, Lists those with several
	// values.
	Context map[string]string
	Lists   map[string][]string
}

// Signature is how a request is signed; the zero value is not at all.
type Signature struct {
	// Version is that of the algorithm as condition keys name it.
	Version string
	// InQuery says that it came in the URL, not in a header.
	InQuery bool
	// Covers reports whether a parameter of the query is signed; nil is that all are.
	Covers func(parameter string) bool
}

// Call is one call of an operation.
type Call struct {
	// Query are the parameters of a Query call; empty for others.
	*wire.Query
	// HTTP is the request, with headers as they were signed; its Trailer is that
	// of a body in chunks, too.
	HTTP *http.Request
	// Signature says how the request is signed.
	Signature Signature
	Body      []byte
	Operation string
	// Path is the request's path, escaped, without a host name of AWS in it.
	Path string
	// Segments are the variables of a REST path, unescaped; Route sets them.
	Segments map[string]string
	// HostPrefix is what comes before the service's name in the host name; empty
	// if nothing does.
	HostPrefix string
	// Account is the one the call is made in: the caller's.
	Account *account.Account
	// Accounts are all that exist here.
	Accounts *account.Set
	// Caller is nil for operations that anybody may call.
	Caller *caller.Caller
	// Region is that of the signature, or of the endpoint.
	Region string
	// Time is when the call is made.
	Time time.Time
	// Allow decides by the caller's policies and the target's whether an action
	// is allowed, and refuses with a *wire.Error.
	Allow func(action string, target Target) error
	// KeysUnreachable makes fetching issuers' keys fail, because a test asked for it.
	KeysUnreachable bool
}
