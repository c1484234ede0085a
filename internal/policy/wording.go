package policy

import "strings"

// rule names one thing that IAM refuses in a document when it is written.
type rule int

const (
	notJSON rule = iota
	badStructure
	badVersion
	oldVersion
	noStatement
	noEffect
	badEffect
	effectCase
	badValue
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
	hasPrincipal
	hasNotPrincipal
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
)

const malformed = "MalformedPolicyDocument"

// wording returns AWS's text for a rule in a kind of document: the tables of
// spec iam-policy §1.5. value fills the braces. This is the only file that
// quotes AWS.
func wording(kind Kind, r rule, value string) string {
	table, fallback := identityWording, "Syntax errors in policy."
	if kind == Trust {
		table, fallback = trustWording, "Syntax error in policy."
	}
	text, found := table[r]
	if !found {
		text = fallback
	}
	return strings.ReplaceAll(text, "{}", value)
}

var identityWording = map[rule]string{
	oldVersion:        "Policy document must be version 2012-10-17 or greater.",
	effectCase:        "The policy failed legacy parsing",
	badValue:          "The policy failed legacy parsing",
	repeatedSid:       "Statement IDs (SID) in a single policy must be unique.",
	noAction:          "Policy statement must contain actions.",
	resourceNotARN:    `Resource {} must be in ARN format or "*".`,
	resourcePartition: `Partition "{}" is not valid for resource`,
	resourceVendor:    "Resource vendor must be fully qualified and cannot contain regexes.",
	actionNoVendor:    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
	actionTwoColons:   "Actions/Condition can contain only one colon.",
	actionBadVendor:   "Vendor {} is not valid",
	noResource:        "Policy statement must contain resources.",
	hasPrincipal:      "Policy document should not specify a principal.",
	hasNotPrincipal:   "Policy document should not specify a principal.",
	badSid:            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
}

var trustWording = map[rule]string{
	notJSON:            "This policy contains invalid Json",
	badVersion:         "The policy must contain a valid version string",
	noStatement:        "Could not parse the policy: Statement is empty!",
	noEffect:           "Missing required field Effect",
	badEffect:          "Invalid effect: {}",
	effectCase:         "Invalid effect: {}",
	noPrincipal:        "Missing required field Principal",
	emptyPrincipal:     "Missing required field Principal cannot be empty!",
	starPrincipal:      `AssumeRolepolicy contained an invalid principal: "STAR":"*".`,
	principalNoObject:  "Principal must be a JSON object.",
	principalEmptyList: "Invalid principal in policy: com.amazon.balsa.error.InvalidPolicyException: The passed in policy has a statement with no principals!",
	badPrincipal:       "Invalid principal in policy: {}",
	badFederated:       "Federated principals must be valid domain names or SAML metadata ARNs",
	allowNotPrincipal:  "Allow with NotPrincipal is not allowed.",
	hasNotPrincipal:    "AssumeRole policy must not contain NotPrincipal field.",
	noAction:           "Missing required field Action",
	actionNotSTS:       "AssumeRole policy may only specify STS AssumeRole actions.",
	hasResource:        "Has prohibited field Resource",
	hasNotResource:     "AssumeRole policy must not contain resources.",
	repeatedSid:        "The Statement Ids in the policy are not unique",
}
