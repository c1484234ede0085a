package iam

// Quotas of IAM as accounts have them at first.
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

// room says whether an account can have one more.
func room(count int, of string, most int) error {
	if count >= most {
		return limitExceeded("Cannot exceed quota for %s: %d", of, most)
	}
	return nil
}
