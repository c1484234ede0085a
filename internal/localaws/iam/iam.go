// Package iam is local AWS's Identity and Access Management: users, groups,
// roles, their policies and keys, and OIDC providers, with IAM's limits and
// messages.
//
// It decides no access: callers that get here have been allowed to. The records
// of users, groups, roles, policies, keys and providers are package account's,
// since all services need them.
package iam

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// New returns IAM. It keeps nothing itself: each call brings its account.
func New() *service.Service {
	operations := map[string]service.Operation{}
	for _, table := range []map[string]service.Operation{
		roleOperations(), userOperations(), keyOperations(), groupOperations(), policyOperations(), profileOperations(),
		providerOperations(), holderOperations(),
		simulationOperations(), accountOperations(), linkedOperations(),
	} {
		maps.Copy(operations, table)
	}
	return &service.Service{
		Name:       "iam",
		Protocol:   wire.AWSQuery,
		Version:    "2010-05-08",
		Namespace:  "https://iam.amazonaws.com/doc/2010-05-08/",
		Operations: operations,
		Others:     others(),
		Tables:     []account.Table{profileTable, aliasTable, deletionTable},
	}
}

func roleOperations() map[string]service.Operation {
	role := roleKind().target
	return map[string]service.Operation{
		"CreateRole":             {Target: role, Do: createRole},
		"GetRole":                {Target: role, Do: getRole},
		"ListRoles":              {Target: below("role"), Do: listRoles},
		"UpdateRole":             {Target: role, Do: updateRole},
		"UpdateRoleDescription":  {Target: role, Do: updateDescription},
		"UpdateAssumeRolePolicy": {Target: role, Do: updateTrust},
		"DeleteRole":             {Target: role, Do: deleteRole},
	}
}

func providerOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreateOpenIDConnectProvider":             {Target: newProviderTarget, Do: createProvider},
		"GetOpenIDConnectProvider":                {Target: providerTarget, Do: getProvider},
		"ListOpenIDConnectProviders":              {Do: listProviders},
		"DeleteOpenIDConnectProvider":             {Target: providerTarget, Do: deleteProvider},
		"AddClientIDToOpenIDConnectProvider":      {Target: providerTarget, Do: addClientID},
		"RemoveClientIDFromOpenIDConnectProvider": {Target: providerTarget, Do: removeClientID},
		"UpdateOpenIDConnectProviderThumbprint":   {Target: providerTarget, Do: updateThumbprint},
		"TagOpenIDConnectProvider":                {Target: providerTarget, Do: tagProvider},
		"UntagOpenIDConnectProvider":              {Target: providerTarget, Do: untagProvider},
		"ListOpenIDConnectProviderTags":           {Target: providerTarget, Do: listProviderTags},
	}
}

func noSuchEntity(format string, args ...any) error {
	return wire.Errorf(http.StatusNotFound, "NoSuchEntity", format, args...)
}

func limitExceeded(format string, args ...any) error {
	return wire.Errorf(http.StatusConflict, "LimitExceeded", format, args...)
}

func invalidInput(format string, args ...any) error {
	return wire.Errorf(http.StatusBadRequest, "InvalidInput", format, args...)
}

// Limits of IAM's parameters.
var (
	nameLimit         = wire.Constraint{Min: 1, Max: 64, Pattern: lazyregexp.New(`^[\w+=,.@-]+$`)}
	longNameLimit     = wire.Constraint{Min: 1, Max: 128, Pattern: nameLimit.Pattern}
	pathLimit         = wire.Constraint{Min: 1, Max: 512, Optional: true}
	descriptionLimit  = wire.Constraint{Max: 1000, Optional: true}
	documentLimit     = wire.Constraint{Min: 1, Sensitive: true}
	validKeyParameter = lazyregexp.New(`^\w+$`)
	arnLimit          = wire.Constraint{Min: 20, Max: 2048}
	markerLimit       = wire.Constraint{Min: 1, Max: 320, Optional: true}
	validPath         = lazyregexp.New(`^/([!-~]+/)?$`)
)

const (
	minSession, maxSession = 3600, 43200
	defaultPage, maxPage   = 100, 1000
)

// readTrust reads a trust policy parameter: it must be one, and within the quota.
func readTrust(q *service.Call, parameter string) (*policy.Policy, error) {
	text := q.Text(parameter, documentLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	parsed, err := parseDocument(policy.Trust, parameter, text)
	if err != nil {
		return nil, err
	}
	if policy.Size(text) > trustQuota {
		return nil, limitExceeded("Cannot exceed quota for ACLSizePerRole: %d", trustQuota)
	}
	return parsed, nil
}

// SetTrust stores a trust policy with the ids of the users and roles it names.
// Those of accounts that exist here must exist too.
func SetTrust(state account.State, role *account.Role, trust *policy.Policy) error {
	ids, missing, err := state.Principals(trust.Entities())
	if errors.Is(err, account.ErrNotFound) {
		return wire.Errorf(
			http.StatusBadRequest, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"%s"`, missing,
		).
			Because("there is no such user or role in its account")
	}
	role.Trust, role.Principals = trust.Text(), ids
	return err
}

// ShownTrust is a trust policy as IAM returns it: with the ARN that a user or
// role has now, or the id of one that was deleted.
func ShownTrust(state account.State, role *account.Role) string {
	text := role.Trust
	for entity, id := range role.Principals {
		if current, err := state.EntityID(entity); err == nil && current == id {
			continue
		}
		text = strings.ReplaceAll(text, `"`+entity+`"`, `"`+currentARN(state, entity, id)+`"`)
	}
	return text
}

// currentARN is the ARN of a principal that may have been renamed or moved
// since, or the id if it was deleted.
func currentARN(state account.State, entity, id string) string {
	parsed, err := arn.Parse(entity)
	if err != nil {
		return id
	}
	owner, err := state.In(parsed.Account)
	if err != nil {
		return id
	}
	if now, err := arnOf(owner, id); err == nil {
		return now
	}
	return id
}

// escape is how IAM returns policy documents: percent-encoded.
func escape(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// newPath reads the path of an entity that is to be created.
func newPath(q *service.Call) string {
	if path := readPath(q, "Path"); path != "" {
		return path
	}
	return "/"
}

// readPath reads a path, which may be left out.
func readPath(q *service.Call, parameter string) string {
	path := q.Text(parameter, pathLimit)
	if path != "" && !validPath.MatchString(path) {
		q.Violate(
			"The specified value for path is invalid. It must begin and end with / and contain only alphanumeric " +
				"characters and/or / characters.",
		)
	}
	return path
}

func wrap(err error, doing string, args ...any) error {
	if _, answered := errors.AsType[*wire.Error](err); err == nil || answered {
		return err
	}
	return fmt.Errorf(doing+": %w", append(args, err)...)
}

// others returns the operations that IAM has and that are not emulated. A call
// of one is decided by policies; any other name is an InvalidAction.
func others() []string {
	return []string{
		"AcceptDelegationRequest", "AcquireRole", "AssociateDelegationRequest", "ChangePassword",
		"CreateDelegationRequest", "CreateLoginProfile", "CreateSAMLProvider",
		"CreateServiceSpecificCredential", "CreateVirtualMFADevice", "DeactivateMFADevice",
		"DeleteAccountPasswordPolicy", "DeleteLoginProfile", "DeleteSAMLProvider", "DeleteSSHPublicKey",
		"DeleteServerCertificate", "DeleteServiceSpecificCredential", "DeleteSigningCertificate",
		"DeleteVirtualMFADevice", "DisableOrganizationsRootCredentialsManagement", "DisableOrganizationsRootSessions",
		"DisableOutboundWebIdentityFederation", "EnableMFADevice", "EnableOrganizationsRootCredentialsManagement",
		"EnableOrganizationsRootSessions", "EnableOutboundWebIdentityFederation", "GenerateCredentialReport",
		"GenerateOrganizationsAccessReport", "GenerateServiceLastAccessedDetails",
		"GetAccountPasswordPolicy", "GetAccountProperties",
		"GetCredentialReport", "GetDelegationRequest",
		"GetHumanReadableSummary", "GetLoginProfile", "GetMFADevice", "GetOrganizationsAccessReport",
		"GetOutboundWebIdentityFederationInfo", "GetRoleTemplateVersion", "GetSAMLProvider", "GetSSHPublicKey",
		"GetServerCertificate", "GetServiceLastAccessedDetails", "GetServiceLastAccessedDetailsWithEntities",
		"ListDelegationRequests", "ListMFADeviceTags",
		"ListMFADevices", "ListOrganizationsFeatures", "ListPoliciesGrantingServiceAccess", "ListSAMLProviderTags",
		"ListSAMLProviders", "ListSSHPublicKeys", "ListServerCertificateTags", "ListServerCertificates",
		"ListServiceSpecificCredentials", "ListSigningCertificates", "ListVirtualMFADevices", "PutAccountProperties",
		"RejectDelegationRequest", "ResetServiceSpecificCredential", "ResyncMFADevice", "SendDelegationToken",
		"SetSecurityTokenServicePreferences", "TagMFADevice",
		"TagSAMLProvider", "TagServerCertificate", "UntagMFADevice", "UntagSAMLProvider", "UntagServerCertificate",
		"UpdateAccountPasswordPolicy", "UpdateDelegationRequest", "UpdateLoginProfile",
		"UpdateSAMLProvider", "UpdateSSHPublicKey", "UpdateServerCertificate", "UpdateServiceSpecificCredential",
		"UpdateSigningCertificate", "UploadSSHPublicKey", "UploadServerCertificate", "UploadSigningCertificate",
	}
}
