package issuercmd

import (
	"context"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/publication"
	"github.com/rolecall/rolecall/internal/rotation"
)

// tellSessions prints what ends the sessions that a leaked key may have taken: no
// key that is dropped does. retired is when the key was taken from where it was
// published; until caches have run out STS may still accept it, so that later
// sessions must be ended too.
func (d *desk) tellSessions(ctx context.Context, retired time.Time, parameters rotation.Parameters) {
	over := retired.Add(parameters.CacheFor)
	until := d.sys.Now()
	if until.After(over) {
		until = over
	}
	fmt.Fprintf(d.sys.Stdout, "\nSessions that were taken with the leaked key live on. End them on each role that trusts the issuer:\n")
	for _, role := range d.trustingRoles(ctx) {
		fmt.Fprintf(d.sys.Stdout, "  %s\n", publication.DenyOlderSessions(role, until))
	}
	if until.Before(over) {
		fmt.Fprintf(d.sys.Stdout, "STS may use cached keys until %s: do it again then, with that time.\n", over.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(d.sys.Stdout, "Pods lose their sessions with it: restart them, which also gives them tokens of the new key.\n")
}

// trustingRoles are the roles of all accounts that have a provider; ROLE stands
// for those of accounts that cannot be asked.
func (d *desk) trustingRoles(ctx context.Context) []string {
	var roles []string
	for _, provider := range d.object.Spec.Providers {
		found, err := rolesTrusting(ctx, d.object.Spec.URL, provider.RoleARN)
		if err != nil {
			fmt.Fprintf(d.sys.Stderr, "roles that trust the issuer cannot be listed: %v\n", err)
			found = []string{"ROLE"}
		}
		roles = append(roles, found...)
	}
	if len(d.object.Spec.Providers) == 0 {
		return []string{"ROLE"}
	}
	return roles
}

func rolesTrusting(ctx context.Context, url, through string) ([]string, error) {
	account, err := awsapi.OpenAccount(ctx, "", through)
	if err != nil {
		return nil, err
	}
	_, provider, err := account.ProviderARN(ctx, url)
	if err != nil {
		return nil, err
	}
	return account.IAM().RolesTrusting(ctx, provider)
}
