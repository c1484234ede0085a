package groups

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
)

// Reasons why a group could not be read; those of the condition Ready.
const (
	reasonSynced        = "Synced"
	reasonBusy          = "Busy"
	reasonNoCredentials = "NoCredentials"
	reasonNotNamed      = "AccountNotNamed"
	reasonWrongAccount  = "WrongAccount"
	reasonDenied        = "AccessDenied"
	reasonThrottled     = "Throttled"
	reasonUnavailable   = "Unavailable"
	reasonBudget        = "CallBudgetSpent"
	reasonPartial       = "UnusableAnswer"
	reasonTooMany       = "TooManyMembers"
	reasonNoGroup       = "NoSuchGroup"
	reasonPending       = "Pending"
)

const (
	// readTimeout bounds the reading of a group, callTimeout a call.
	readTimeout = time.Minute
	callTimeout = 10 * time.Second
	// busyWait is when one that another of the account is read before looks again.
	busyWait = 200 * time.Millisecond
	// backOff is the first pause of an account that throttles or does not answer.
	backOff = 2 * time.Second
)

// Reader reads IAM groups with the environment's credentials, and with roles for other
// accounts. All fields but Roles are needed.
type Reader struct {
	// Roles are the ARNs of roles to read groups with, by account.
	Roles map[string]string
	// Budget is for the calls to AWS of all mappings together.
	Budget *rate.Limiter
	// Every is how often a group is read; an account that fails is asked no less often
	// than every fifth time.
	Every   time.Duration
	Metrics *Metrics
	Now     func() time.Time

	mu       sync.Mutex
	accounts map[string]*accountReader
	own      string
}

// accountReader reads groups of one account, one at a time.
type accountReader struct {
	id, role string
	turn     sync.Mutex
	groups   *awsapi.Groups
	failures int
	failed   *failure
	until    time.Time
}

// failure is why a group could not be read.
type failure struct {
	reason, message string
	// again is when to ask once more; 0 is in its turn.
	again time.Duration
}

func (f *failure) Error() string { return f.message }

// roster is a group and all of its members.
type roster struct {
	arn, id string
	members []v1alpha1.GroupMember
}

// read reads a group of an account, or of the environment's own. Errors are failures.
func (r *Reader) read(ctx context.Context, account, group string) (*roster, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if r.Roles[account] == "" {
		own, err := r.ownAccount(ctx)
		if err != nil {
			return nil, err
		}
		if account != "" && account != own {
			return nil, &failure{reason: reasonNotNamed, message: fmt.Sprintf(
				"no role is named to read IAM of account %s with: start the controller with "+
					"--group-account-role %s=ROLE_ARN", account, account)}
		}
		account = own
	}
	a := r.account(account)
	if err := a.enter(r.Now()); err != nil {
		return nil, err
	}
	defer a.turn.Unlock()
	if a.groups == nil {
		groups, err := awsapi.OpenGroups(ctx, a.role)
		if err != nil {
			return nil, r.pause(a, &failure{reason: reasonNoCredentials, message: "the AWS configuration is not usable"})
		}
		a.groups = groups
	}
	found, err := r.pages(ctx, a, group)
	if failed, is := errors.AsType[*failure](err); is {
		switch failed.reason {
		case reasonThrottled, reasonUnavailable, reasonNoCredentials:
			return nil, r.pause(a, failed)
		}
	}
	a.failures, a.failed = 0, nil
	return found, err
}

func (r *Reader) account(id string) *accountReader {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.accounts == nil {
		r.accounts = map[string]*accountReader{}
	}
	if r.accounts[id] == nil {
		r.accounts[id] = &accountReader{id: id, role: r.Roles[id]}
	}
	return r.accounts[id]
}

// enter has the account's turn, unless another has it or the account has a pause.
func (a *accountReader) enter(now time.Time) error {
	spread := rand.N(busyWait) //nolint:gosec // spreads load, guards nothing
	if !a.turn.TryLock() {
		return &failure{reason: reasonBusy, again: busyWait + spread}
	}
	if wait := a.until.Sub(now); wait > 0 {
		defer a.turn.Unlock()
		return &failure{a.failed.reason, a.failed.message, wait + spread}
	}
	return nil
}

// ownAccount asks STS once whose the environment's credentials are.
func (r *Reader) ownAccount(ctx context.Context) (string, error) {
	r.mu.Lock()
	own := r.own
	r.mu.Unlock()
	if own != "" {
		return own, nil
	}
	a := r.account("") // what fails here is paused as an account is
	if err := a.enter(r.Now()); err != nil {
		return "", err
	}
	defer a.turn.Unlock()
	groups, err := awsapi.OpenGroups(ctx, "")
	if err != nil {
		return "", r.pause(a, &failure{reason: reasonNoCredentials, message: "the AWS configuration is not usable"})
	}
	var who awsapi.Identity
	err = r.call(ctx, a, func(ctx context.Context) (err error) {
		who, err = groups.Identity(ctx)
		return err
	})
	if failed, is := errors.AsType[*failure](err); is {
		return "", r.pause(a, failed)
	}
	if !arn.IsAccount(who.Account) {
		return "", r.pause(a, &failure{reason: reasonPartial, message: "STS did not say whose credentials these are"})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = who.Account
	return r.own, nil
}

// pause has an account not asked for a while, which doubles.
func (r *Reader) pause(a *accountReader, failed *failure) *failure {
	wait := min(backOff<<min(a.failures, 16), 5*r.Every)
	if failed.reason != reasonThrottled {
		wait = min(wait, r.Every) // what is back is noticed within a period
	}
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads load, guards nothing
	a.failures++
	a.failed, a.until = failed, r.Now().Add(wait)
	return &failure{failed.reason, failed.message, wait}
}

// pages reads all pages: of some of them nothing follows.
func (r *Reader) pages(ctx context.Context, a *accountReader, group string) (*roster, error) {
	found, marker, seen := &roster{}, "", map[string]bool{}
	for {
		var page awsapi.GroupPage
		if err := r.call(ctx, a, func(ctx context.Context) (err error) {
			page, err = a.groups.Page(ctx, group, marker)
			return err
		}); err != nil {
			return nil, err
		}
		if err := found.add(a.id, group, page, seen); err != nil {
			return nil, err
		}
		switch {
		case !page.More:
			return found, nil
		case page.Marker == "" || page.Marker == marker:
			return nil, unusable("IAM says that group %s has more members, and not where they begin", group)
		}
		marker = page.Marker
	}
}

func unusable(format string, args ...any) *failure {
	return &failure{reason: reasonPartial, message: fmt.Sprintf(format, args...)}
}

// add takes a page in, which must be of the same group as those before.
func (g *roster) add(account, group string, page awsapi.GroupPage, seen map[string]bool) error {
	named, err := arn.Parse(page.ARN)
	switch {
	case err != nil || !strings.HasPrefix(named.Resource, "group/") || page.ID == "":
		return unusable("IAM answered about group %s with ARN %q and id %q", group, page.ARN, page.ID)
	case named.Account != account:
		return &failure{reason: reasonWrongAccount, message: fmt.Sprintf(
			"IAM answered with group %s, which is not of account %s", page.ARN, account)}
	case !strings.EqualFold(named.Resource[strings.LastIndexByte(named.Resource, '/')+1:], group):
		return unusable("IAM answered about group %s with %s", group, page.ARN)
	case g.id != "" && g.id != page.ID:
		return unusable("group %s was replaced by another of its name while it was read", group)
	}
	g.arn, g.id = page.ARN, page.ID
	for _, user := range page.Users {
		who, err := arn.Parse(user.ARN)
		if err != nil || who.Account != account || who.Partition != named.Partition ||
			!strings.HasPrefix(who.Resource, "user/") || len(user.ARN) > 2048 || !userID.MatchString(user.ID) {
			return unusable("IAM named %q, with id %q, as a member of group %s", user.ARN, user.ID, group)
		}
		if seen[user.ID] {
			continue // pages may overlap while members change
		}
		seen[user.ID] = true
		if len(seen) > maxMembers {
			return &failure{reason: reasonTooMany, message: fmt.Sprintf(
				"group %s has more than %d members, which is all that a GroupMapping has room for", group, maxMembers)}
		}
		g.members = append(g.members, v1alpha1.GroupMember{UserID: user.ID, ARN: user.ARN})
	}
	return nil
}

// call makes one call of the budget. Errors are failures, and say the same as long as the
// same is wrong.
func (r *Reader) call(ctx context.Context, a *accountReader, do func(context.Context) error) error {
	if err := r.Budget.Wait(ctx); err != nil {
		return &failure{reason: reasonBudget, message: "the calls that all GroupMappings share are used up: start the " +
			"controller with a higher --group-calls-per-second, or a longer --group-sync-period"}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := do(ctx)
	failed := explain(err, a)
	r.Metrics.called(failed)
	if failed == nil {
		return nil
	}
	return failed
}

func explain(err error, a *accountReader) *failure {
	if err == nil {
		return nil
	}
	where := "of account " + a.id
	if a.id == "" {
		where = "here"
	}
	answer, isAWS := errors.AsType[*awsapi.Error](err)
	switch {
	case errors.Is(err, awsapi.ErrUnusable):
		return unusable("IAM left out the group")
	case errors.Is(err, awsapi.ErrNoCredentials):
		return &failure{reason: reasonNoCredentials, message: "there are no AWS credentials here to read IAM with"}
	case !isAWS:
		return &failure{reason: reasonUnavailable, message: fmt.Sprintf("AWS %s does not answer", where)}
	case answer.Code == "NoSuchEntity":
		return &failure{reason: reasonNoGroup, message: fmt.Sprintf("IAM %s has no such group", where)}
	case isThrottling(answer):
		return &failure{reason: reasonThrottled, message: fmt.Sprintf("%s is throttled in AWS %s", answer.Operation, where)}
	case answer.Status >= 500:
		return &failure{reason: reasonUnavailable, message: fmt.Sprintf("%s failed in AWS %s: %s", answer.Operation, where, answer.Code)}
	case strings.HasPrefix(answer.Operation, "STS: AssumeRole"):
		return &failure{reason: reasonDenied, message: fmt.Sprintf("role %s may not be assumed: %s", a.role, answer.Code)}
	}
	return &failure{reason: reasonDenied, message: fmt.Sprintf("%s is refused in AWS %s: %s", answer.Operation, where, answer.Code)}
}

func isThrottling(answer *awsapi.Error) bool {
	return answer.Status == 429 || strings.Contains(answer.Code, "Throttl") || answer.Code == "TooManyRequestsException" ||
		answer.Code == "RequestLimitExceeded" || answer.Code == "SlowDown"
}
