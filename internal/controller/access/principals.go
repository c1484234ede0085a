package access

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access/objects"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
)

// Principals knows which unique id IAM has given a role or user.
type Principals interface {
	// ID takes the canonical ARN of a role or user. Errors are faults: NotFound if there is
	// no such principal, any other kind if that cannot be told.
	ID(ctx context.Context, principal string) (string, error)
}

// EnvironmentPrincipals asks IAM with the credentials of the process environment. A
// principal of another account is refused with fault.Denied.
type EnvironmentPrincipals struct {
	// Own is the account that is asked.
	Own *awsapi.Own
}

// timeout bounds one question to IAM.
const timeout = 10 * time.Second

// ID asks IAM. What its errors say anybody who reads entries may know.
func (p *EnvironmentPrincipals) ID(ctx context.Context, principal string) (string, error) {
	name, err := arn.Parse(principal)
	if err != nil {
		return "", fault.New(fault.Invalid, "%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	account, id, err := p.Own.Open(ctx)
	if err != nil {
		return "", err
	}
	if id != name.Account {
		return "", fault.New(fault.Denied, "the controller's credentials are not of account %s", name.Account)
	}
	var found, userID string
	kind, rest, _ := strings.Cut(name.Resource, "/")
	if kind == "role" {
		found, userID, err = account.IAM().RoleID(ctx, rest)
	} else {
		found, userID, err = account.IAM().UserID(ctx, rest[strings.LastIndexByte(rest, '/')+1:])
	}
	answer, isAWS := errors.AsType[*awsapi.Error](err)
	switch {
	case isAWS:
		return "", fault.New(fault.Denied, "IAM does not show it to the controller: %s", answer.Code)
	case err != nil:
		return "", fault.New(fault.Unavailable, "IAM does not answer")
	case userID == "", kind == "user" && !strings.EqualFold(found, principal): // of another path
		return "", fault.New(fault.NotFound, "IAM has no %s %s", kind, principal)
	}
	return userID, nil
}

// asked is what IAM has said.
type asked struct {
	mu   sync.Mutex
	by   map[string]answer
	told func()
	pace *rate.Limiter
}

// answer is what is known of a principal.
type answer struct {
	id     string
	absent bool
	// problem is why neither is known.
	problem string
}

func (a *asked) of(principal string) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, there := a.by[principal]
	return known, there
}

// set notes an answer, or forgets it.
func (a *asked) set(principal string, said *answer) {
	a.mu.Lock()
	before, there := a.by[principal]
	switch {
	case said == nil:
		delete(a.by, principal)
	case said.problem != "" && there && before.problem == "":
		said = &before // what IAM said last counts until it says something else
	default:
		if a.by == nil {
			a.by = map[string]answer{}
		}
		a.by[principal] = *said
	}
	isNews := said != nil && (!there || before != *said)
	a.mu.Unlock()
	if isNews {
		a.told()
	}
}

// newPace is how often IAM is asked in a second, whatever comes together.
func newPace() *rate.Limiter { return rate.NewLimiter(5, 20) }

// awaited is how soon a principal is asked about again that IAM did not have or was not
// asked about: it may just have been made.
const awaited = time.Minute

// ask asks IAM about one principal.
func (r *Reconciler) ask(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	used, err := r.isUsed(ctx, request.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !used {
		r.asked.set(request.Name, nil)
		return ctrl.Result{}, nil
	}
	if err := r.asked.pace.Wait(ctx); err != nil {
		return ctrl.Result{}, nil //nolint:nilerr // the controller ends
	}
	id, err := r.Principals.ID(ctx, request.Name)
	again := min(r.Every, awaited)
	switch {
	case err == nil:
		r.asked.set(request.Name, &answer{id: id})
		again = r.Every
	case fault.KindOf(err) == fault.NotFound:
		r.asked.set(request.Name, &answer{absent: true})
	default:
		r.asked.set(request.Name, &answer{problem: err.Error()})
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

func (r *Reconciler) isUsed(ctx context.Context, principal string) (bool, error) {
	var entries v1alpha1.AccessEntryList
	var mappings v1alpha1.IdentityMappingList
	for _, list := range []client.ObjectList{&entries, &mappings} {
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil { // they are only read
			return false, err
		}
	}
	for i := range entries.Items {
		if principalToAsk(&entries.Items[i]) == principal {
			return true, nil
		}
	}
	for i := range mappings.Items {
		if principalToAsk(&mappings.Items[i]) == principal {
			return true, nil
		}
	}
	return false, nil
}

// principalToAsk is the principal of an object if IAM knows an id of it.
func principalToAsk(object client.Object) string {
	var made objects.Result
	switch object := object.(type) {
	case *v1alpha1.AccessEntry:
		made = objects.AccessEntry(object)
	case *v1alpha1.IdentityMapping:
		made = objects.IdentityMapping(object)
	}
	if len(made.Mappings) == 0 {
		return ""
	}
	name := made.Mappings[0].Match.ARN
	if !strings.Contains(name, ":iam:") || !strings.Contains(name, "/") {
		return "" // a pattern, the root, a federated user
	}
	return name
}
