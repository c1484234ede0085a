package policy

import (
	"slices"
	"strings"
)

// rule names one thing that IAM refuses in a document when it is written.
type rule int

const (
	tooLong rule = iota
	badCharacter
	notJSON
	badStructure
	badVersion
	oldVersion
	noStatement
	noEffect
	badEffect
	effectCase
	badValue
	legacyARN
	repeatedSid
	badSid
	noAction
	actionNoVendor
	actionTwoColons
	actionBadVendor
	actionNotSTS
	noResource
	resourceNotARN
	resourcePartition
	resourceVendor
	resourceRegionIAM
	resourceRegionS3
	resourcePathIAM
	hasPrincipal
	allowNotPrincipal
	noPrincipal
	emptyPrincipal
	starPrincipal
	principalNoObject
	principalEmptyList
	badPrincipal
	badFederated
	hasResource
	hasNotResource
	noCognitoAudience
	sharedIssuer
	controlPolicyGrammar
	resourceControlGrammar
)

// step is what AWS checks together: of several faults in a document, the one of
// the first step is reported, and within a step the one that was found first
// (spec iam-policy §1.5). The texts are AWS's, {} stands for a value; this is
// the only file that quotes AWS.
type step map[rule]string

const (
	malformed  = "MalformedPolicyDocument"
	validation = "ValidationError"
)

// wording finds the steps of a kind, and the code and text of all that is in no
// step.
func wording(kind Kind) (steps []step, code, rest string) {
	switch kind {
	case Trust:
		return trustSteps, malformed, "Syntax error in policy."
	case Resource, Endpoint:
		return resourceSteps, malformed, syntaxErrors
	case SCP, RCP:
		return nil, "MalformedPolicyDocumentException", "The provided policy document does not meet the requirements " +
			"of the specified policy type."
	case Identity, Boundary, Session:
	}
	return identitySteps, malformed, syntaxErrors
}

// answer returns AWS's code and text for a fault, and its rank among others:
// the smallest is answered.
func answer(kind Kind, v *violation) (rank int, code, message string) {
	switch v.rule { //nolint:exhaustive // the others depend on the kind
	case tooLong:
		return -2, validation, "1 validation error detected: Value at '" + field(
			kind,
		) + "' failed to satisfy constraint: Member must have length less than or equal to 131072"
	case badCharacter:
		return -1, validation, "The specified value for " + field(
			kind,
		) + " is invalid. It must contain only printable ASCII characters."
	}
	steps, code, rest := wording(kind)
	for i, step := range steps {
		if text, found := step[v.rule]; found {
			return i, code, strings.ReplaceAll(text, "{}", v.value)
		}
	}
	return len(steps), code, rest
}

// field is the parameter of IAM's calls that holds the document.
func field(kind Kind) string {
	if kind == Trust {
		return "assumeRolePolicyDocument"
	}
	return "policyDocument"
}

const (
	syntaxErrors = "Syntax errors in policy."
	legacy       = "The policy failed legacy parsing"
	noPrincipals = "Invalid principal in policy: com.amazon.balsa.error.InvalidPolicyException: The passed in policy " +
		"has a statement with no principals!"
)

var identitySteps = []step{
	{
		notJSON:      syntaxErrors,
		badStructure: syntaxErrors,
		badVersion:   syntaxErrors,
		noStatement:  syntaxErrors,
		noEffect:     syntaxErrors,
		badEffect:    syntaxErrors,
	},
	{oldVersion: "Policy document must be version 2012-10-17 or greater."},
	{effectCase: legacy, badValue: legacy, legacyARN: legacy},
	{repeatedSid: "Statement IDs (SID) in a single policy must be unique."},
	{noAction: "Policy statement must contain actions."},
	{
		resourceNotARN:    `Resource {} must be in ARN format or "*".`,
		resourcePartition: "Partition {}.",
		resourceVendor:    "Resource vendor must be fully qualified and cannot contain regexes.",
		resourceRegionIAM: "IAM resource {} cannot contain region information.",
		resourceRegionS3:  "Resource {} can not contain region information.",
		resourcePathIAM:   `IAM resource path must either be "*" or start with ` + strings.Join(iamPaths, ", ") + ".",
	},
	{
		actionNoVendor:  "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
		actionTwoColons: "Actions/Condition can contain only one colon.",
		actionBadVendor: "Vendor {} is not valid",
	},
	{noResource: "Policy statement must contain resources."},
	{hasPrincipal: "Policy document should not specify a principal."},
	{
		badSid: "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression " +
			"[0-9A-Za-z]*",
	},
}

var iamPaths = []string{
	"user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/", "policy/",
	"sms-mfa/",
	"saml-provider/", "oidc-provider/", "report/", "access-report/",
}

// trustSteps is for CreateRole and UpdateAssumeRolePolicy. Some texts come from
// one public reimplementation only: spec iam-policy §1.5 marks them.
var trustSteps = []step{
	{notJSON: "This policy contains invalid Json"},
	{badVersion: "The policy must contain a valid version string"},
	{noStatement: "Could not parse the policy: Statement is empty!"},
	{noEffect: "Missing required field Effect", badEffect: "Invalid effect: {}", effectCase: "Invalid effect: {}"},
	{noPrincipal: "Missing required field Principal"},
	{emptyPrincipal: "Missing required field Principal cannot be empty!"},
	{starPrincipal: `AssumeRolepolicy contained an invalid principal: "STAR":"*".`},
	{principalNoObject: "Principal must be a JSON object."},
	{principalEmptyList: noPrincipals},
	{badPrincipal: "Invalid principal in policy: {}"},
	{badFederated: "Federated principals must be valid domain names or SAML metadata ARNs"},
	{
		allowNotPrincipal: "Allow with NotPrincipal is not allowed.",
		hasPrincipal:      "AssumeRole policy must not contain NotPrincipal field.",
	},
	{noAction: "Missing required field Action"},
	{actionNotSTS: "AssumeRole policy may only specify STS AssumeRole actions."},
	{hasResource: "Has prohibited field Resource", hasNotResource: "AssumeRole policy must not contain resources."},
	{repeatedSid: "The Statement Ids in the policy are not unique"},
	{noCognitoAudience: "A condition block must be present for the Cognito provider"},
	{sharedIssuer: "Trust policy with trusted principal {} which is not scoped to all."},
}

// resourceSteps: services word their own refusals; these are IAM's.
var resourceSteps = slices.Concat(identitySteps[:1], trustSteps[4:6], trustSteps[7:11], identitySteps[1:])
