package iam

import (
	"net/http"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func accountOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"GetAccountSummary":              {Do: getSummary},
		"GetAccountAuthorizationDetails": {Do: getDetails},
		"CreateAccountAlias":             {Do: createAlias},
		"DeleteAccountAlias":             {Do: deleteAlias},
		"ListAccountAliases":             {Do: listAliases},
	}
}

type summaryResult struct{ SummaryMap wire.Map[int] }

func getSummary(q *service.Call) (any, error) {
	var versions int
	summary := wire.Map[int]{}
	err := q.Account.View(func(state account.State) (err error) {
		versions, err = countVersions(state)
		summary = wire.Map[int]{
			"Users":               state.CountUsers(),
			"Groups":              state.CountGroups(),
			"Roles":               state.CountRoles(),
			"Policies":            state.CountPolicies(),
			"InstanceProfiles":    CountProfiles(state),
			"Providers":           state.CountProviders(),
			"PolicyVersionsInUse": versions,
			"ServerCertificates":  0, "MFADevices": 0, "MFADevicesInUse": 0,
			"AccountMFAEnabled":                 0,
			"AccountAccessKeysPresent":          0,
			"AccountPasswordPresent":            0,
			"AccountSigningCertificatesPresent": 0,
			"UsersQuota":                        maxUsers,
			"GroupsQuota":                       maxAllGroups,
			"RolesQuota":                        maxRoles,
			"PoliciesQuota":                     maxPolicies,
			"InstanceProfilesQuota":             maxProfiles,
			"ServerCertificatesQuota":           20,
			"SigningCertificatesPerUserQuota":   2,
			"AccessKeysPerUserQuota":            maxKeys,
			"GroupsPerUserQuota":                maxGroups,
			"AttachedPoliciesPerUserQuota":      maxAttached,
			"AttachedPoliciesPerGroupQuota":     maxAttached,
			"AttachedPoliciesPerRoleQuota":      maxAttached,
			"UserPolicySizeQuota":               userInlineQuota,
			"GroupPolicySizeQuota":              groupInlineQuota,
			"RolePolicySizeQuota":               roleInlineQuota,
			"AssumeRolePolicySizeQuota":         trustQuota,
			"PolicySizeQuota":                   managedQuota,
			"VersionsPerPolicyQuota":            maxVersions,
			"PolicyVersionsInUseQuota":          maxVersionsInUse, "GlobalEndpointTokenVersion": 2,
		}
		return err
	})
	return summaryResult{summary}, wrap(err, "count what is in the account")
}

// aliasLimit allows lower-case letters, digits, and single hyphens between
// them.
var aliasLimit = wire.Constraint{Min: 3, Max: 63, Pattern: lazyregexp.New(`^[a-z0-9]([a-z0-9]|-)*[a-z0-9]$`)}

func readAlias(q *service.Call) (string, error) {
	alias := q.Text("AccountAlias", aliasLimit)
	if strings.Contains(alias, "--") {
		q.Violate(
			"Value '%s' at 'accountAlias' failed to satisfy constraint: Member must not have two hyphens in a row",
			alias,
		)
	}
	return alias, q.Check()
}

// createAlias replaces the alias, if there is one: an account has one only.
func createAlias(q *service.Call) (any, error) {
	alias, err := readAlias(q)
	if err != nil {
		return nil, err
	}
	return nil, wrap(q.Account.Update(func(state account.State) error {
		for _, other := range q.Accounts.All() {
			there, err := state.In(other.ID)
			if err != nil {
				return err
			}
			taken, err := aliasOf(there)
			if err != nil {
				return err
			}
			if taken == alias {
				return wire.Errorf(
					http.StatusConflict, "EntityAlreadyExists", "The account alias %s already exists.", alias,
				)
			}
		}
		return setAlias(state, alias)
	}), "set the account's alias")
}

func deleteAlias(q *service.Call) (any, error) {
	alias, err := readAlias(q)
	if err != nil {
		return nil, err
	}
	return nil, wrap(q.Account.Update(func(state account.State) error {
		current, err := aliasOf(state)
		if err == nil && current != alias {
			err = noSuchEntity("The account alias with name %s cannot be found.", alias)
		}
		if err != nil {
			return err
		}
		return setAlias(state, "")
	}), "delete the account's alias")
}

type aliasesResult struct {
	AccountAliases wire.List[string]
	pageEnd
}

func listAliases(q *service.Call) (any, error) {
	var result aliasesResult
	if _, _, err := pageParameters(q); err != nil {
		return nil, err
	}
	err := q.Account.View(func(state account.State) error {
		alias, err := aliasOf(state)
		if alias != "" {
			result.AccountAliases = wire.List[string]{alias}
		}
		return err
	})
	return result, wrap(err, "read the account's alias")
}

// IAM's default quotas.
const (
	maxUsers     = 5000
	maxAllGroups = 300
	maxRoles     = 1000
	maxProfiles  = 1000
	maxPolicies  = 1500

	maxProviders     = 100
	maxClientIDs     = 100
	maxThumbprints   = 5
	maxKeys          = 2
	maxGroups        = 10 // that one user is in
	maxAttached      = 10 // to one user, group or role
	maxVersions      = 5  // that one managed policy has
	maxVersionsInUse = 10000
	maxTags          = 50

	// Of documents, in characters without white space (spec iam-policy §1.4).
	trustQuota       = 2048
	managedQuota     = 6144
	userInlineQuota  = 2048 // all inline policies together
	groupInlineQuota = 5120
	roleInlineQuota  = 10240
)

// room refuses one more than an account can have.
func room(count int, of string, most int) error {
	if count >= most {
		return limitExceeded("Cannot exceed quota for %s: %d", of, most)
	}
	return nil
}
