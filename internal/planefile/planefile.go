// Package planefile answers what the plane is, said once: the cluster's name and place in
// AWS, the issuers, how roles are assumed, which nodes and labels count. It is one YAML
// document that every role and command is started with, so that no two of them rely on
// different facts; and it finds what differs where they do all the same.
//
// It reads no file and no cluster, and decides nothing by what the document says.
package planefile

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/sessionplan"
	"github.com/rolecall/rolecall/internal/token"
)

// APIVersion and Kind head the document.
const (
	APIVersion = "rolecall.io/v1alpha1"
	Kind       = "Plane"
)

// Field is the path of one fact in the document.
type Field string

// The facts there are, in the order of the document. Lists hold strings.
const (
	ClusterName   Field = "cluster.name"
	Region        Field = "cluster.region"
	Account       Field = "cluster.account"
	Partition     Field = "cluster.partition"
	TokenIssuer   Field = "tokens.issuer"
	Mode          Field = "sessions.mode"
	AllowedModes  Field = "sessions.allowedModes"
	Choices       Field = "sessions.associationChoices"
	RequireGrants Field = "sessions.requireGrants"
	SessionIssuer Field = "sessions.issuer"
	BrokerRole    Field = "sessions.brokerRoleARN"
	STSEndpoint   Field = "sessions.stsEndpoint"
	PodLabels     Field = "sessions.podLabels"
	NodeRoles     Field = "nodes.roles"
)

// Modes are the values of sessions.mode.
var modes = []string{
	string(v1alpha1.Federated), string(v1alpha1.BrokerRole), string(v1alpha1.PassThrough), string(sessionplan.EKS),
}

// Modes returns the values of sessions.mode, the default first.
func Modes() []string { return slices.Clone(modes) }

// ParseMode reads a mode as the document writes it, BrokerRole, or as flags do, broker-role.
func ParseMode(text string) (v1alpha1.AssociationMode, bool) {
	for _, mode := range modes {
		if text == mode || text == flagForms[mode] {
			return v1alpha1.AssociationMode(mode), true
		}
	}
	return "", false
}

// flagForms are modes as the specification of the broker's flags writes them.
var flagForms = map[string]string{
	string(v1alpha1.Federated):   "federated",
	string(v1alpha1.BrokerRole):  "broker-role",
	string(v1alpha1.PassThrough): "pass-through",
	string(sessionplan.EKS):      "eks",
}

// NoChoice stands alone in sessions.associationChoices for no choice at all.
const NoChoice = "none"

// ParseChoice reads a choice as the document writes it, SessionTags, or as flags do,
// session-tags; or NoChoice.
func ParseChoice(text string) (association.Choice, bool) {
	if text == NoChoice {
		return NoChoice, true
	}
	for _, choice := range association.Choices() {
		if text == string(choice) || text == ChoiceFlag(choice) {
			return choice, true
		}
	}
	return "", false
}

// ChoiceFlag is a choice as flags write it.
func ChoiceFlag(choice association.Choice) string {
	words := map[association.Choice]string{
		association.ChooseExternalID:     "external-id",
		association.ChooseNoTags:         "no-session-tags",
		association.ChooseLocalTags:      "local-session-tags",
		association.ChooseTags:           "session-tags",
		association.ChooseSessionName:    "session-name",
		association.ChooseSourceIdentity: "source-identity",
		association.ChooseUnboundTokens:  "unbound-tokens",
	}
	return words[choice]
}

// Info describes a field, for the reference page.
type Info struct {
	Field Field
	// List says that the value is a list of strings.
	List bool
	// Meaning says what the fact is, Example shows one, Default what counts without it.
	Meaning, Example, Default string

	check func(text string) error
}

// Fields describes all fields, in the order of the document.
func Fields() []Info {
	return []Info{
		{
			Field:   ClusterName,
			Meaning: "name of the cluster in ARNs, session tags and tokens",
			Example: "prod",
			check:   arn.CheckClusterName,
		},
		{
			Field:   Region,
			Meaning: "region in the cluster's ARN, whose STS is asked",
			Example: "eu-west-1",
			check:   arn.CheckRegion,
		},
		{Field: Account, Meaning: "account in the cluster's ARN", Example: `"111122223333"`, check: arn.CheckAccount},
		{
			Field:   Partition,
			Meaning: "partition in the cluster's ARN",
			Example: "aws",
			Default: "that of the region",
			check:   arn.CheckPartition,
		},
		{
			Field:   TokenIssuer,
			Meaning: "URL of the issuer of the cluster's service-account tokens",
			Example: "https://oidc.example.com/prod",
			check:   token.CheckTokenIssuer,
		},
		{
			Field:   Mode,
			Meaning: "how roles are assumed for associations that name no mode",
			Example: "Federated",
			Default: modes[0],
			check:   checkMode,
		},
		{
			Field:   AllowedModes,
			List:    true,
			Meaning: "modes that associations may have",
			Example: "[Federated, PassThrough]",
			Default: "that of sessions.mode",
			check:   checkAllowedMode,
		},
		{
			Field: Choices,
			List:  true,
			Meaning: "what associations may choose beside their roles: ExternalID, NoSessionTags, LocalSessionTags, SessionTags, " +
				"SessionName, SourceIdentity, UnboundTokens; or none",
			Example: "[SessionTags, SessionName]",
			Default: "all but ExternalID, and in mode BrokerRole but NoSessionTags and LocalSessionTags",
			check:   checkChoice,
		},
		{
			Field:   RequireGrants,
			Meaning: "whether nobody may use any role as long as the cluster has no RoleGrant",
			Example: "true",
			Default: "false",
			check:   checkBool,
		},
		{
			Field:   SessionIssuer,
			Meaning: "URL of the issuer of the tokens that the broker mints, in mode Federated",
			Example: "https://oidc.example.com/broker",
			check:   token.CheckTokenIssuer,
		},
		{
			Field:   BrokerRole,
			Meaning: "ARN of the broker's own role or user, in mode BrokerRole",
			Example: "arn:aws:iam::111122223333:role/broker",
			check:   checkIdentity,
		},
		{
			Field:   STSEndpoint,
			Meaning: "URL of STS",
			Example: "https://sts.eu-west-1.amazonaws.com",
			Default: "AWS_ENDPOINT_URL_STS, else the region's",
			check:   checkEndpoint,
		},
		{
			Field: PodLabels,
			List:  true,
			Meaning: "keys of pods' labels that associations may use in templates, " +
				"so that they may become session tags",
			Example: "[team]",
			check:   checkText,
		},
		{
			Field:   NodeRoles,
			List:    true,
			Meaning: "ARNs of the roles of the nodes' instance profiles",
			Example: "[arn:aws:iam::111122223333:role/node]",
			check:   checkRole,
		},
	}
}

// Check says what is wrong with a value of a field, a flag's too; nil if nothing is.
func Check(field Field, value string) error {
	for _, info := range Fields() {
		if info.Field == field {
			return info.check(value)
		}
	}
	return nil
}

// Plane is what a document says, or what a role was started with. A fact that is not
// said is not in it.
type Plane struct{ facts map[Field][]string }

// Get returns the fact's value, or its only element; empty if it is not said.
func (p *Plane) Get(field Field) string { return strings.Join(p.List(field), ",") }

// List returns the elements of the fact, none if it is not said.
func (p *Plane) List(field Field) []string { return p.facts[field] }

// Set makes a fact what is given; no values, or only empty ones, unsay it.
func (p *Plane) Set(field Field, values ...string) {
	values = slices.DeleteFunc(slices.Clone(values), func(text string) bool { return text == "" })
	if len(values) == 0 {
		delete(p.facts, field)
		return
	}
	if p.facts == nil {
		p.facts = map[Field][]string{}
	}
	p.facts[field] = values
}

// Cluster is the cluster that the plane says, with the partition of its region if it says
// none.
func (p *Plane) Cluster() association.Cluster {
	cluster := association.Cluster{
		Name:      p.Get(ClusterName),
		Region:    p.Get(Region),
		Account:   p.Get(Account),
		Partition: p.Get(Partition),
	}
	if cluster.Partition == "" && cluster.Region != "" {
		cluster.Partition = arn.PartitionOf(cluster.Region)
	}
	return cluster
}

// Bounds are what the plane lets associations choose, Federated being the usual mode.
func (p *Plane) Bounds() association.Bounds {
	bounds := association.Bounds{Default: v1alpha1.AssociationMode(cmp.Or(p.Get(Mode), modes[0]))}
	for _, mode := range p.List(AllowedModes) {
		bounds.Modes = append(bounds.Modes, v1alpha1.AssociationMode(mode))
	}
	if choices := p.List(Choices); len(choices) > 0 {
		bounds.Choices = []association.Choice{}
		for _, choice := range choices {
			if choice != NoChoice {
				bounds.Choices = append(bounds.Choices, association.Choice(choice))
			}
		}
	}
	return bounds
}

// ShownIssuer is the issuer of the tokens that STS is shown: of those that the broker
// mints, or in mode PassThrough of the pods' own.
func (p *Plane) ShownIssuer() string {
	if p.Get(Mode) == string(v1alpha1.PassThrough) {
		return p.Get(TokenIssuer)
	}
	return p.Get(SessionIssuer)
}

// Difference is a fact about which two sides disagree.
type Difference struct {
	Field        Field
	Ours, Theirs string
}

// Differences compares what both sides say; what only one says is not a difference.
// Order in lists does not count.
func Differences(ours, theirs *Plane) []Difference {
	var found []Difference
	for _, info := range Fields() {
		a := slices.Sorted(slices.Values(ours.List(info.Field)))
		b := slices.Sorted(slices.Values(theirs.List(info.Field)))
		if len(a) > 0 && len(b) > 0 && !slices.Equal(a, b) {
			found = append(found, Difference{info.Field, strings.Join(a, ","), strings.Join(b, ",")})
		}
	}
	return found
}

func checkText(text string) error {
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("must not be empty")
	}
	return nil
}

func checkMode(text string) error {
	if !slices.Contains(modes, text) {
		return fmt.Errorf("%q: want %s", text, strings.Join(modes, ", "))
	}
	return nil
}

func checkAllowedMode(text string) error {
	allowed := slices.DeleteFunc(Modes(), func(mode string) bool { return mode == string(sessionplan.EKS) })
	if !slices.Contains(allowed, text) {
		return fmt.Errorf("%q: want %s", text, strings.Join(allowed, ", "))
	}
	return nil
}

func checkChoice(text string) error {
	if choice, known := ParseChoice(text); !known || string(choice) != text {
		return fmt.Errorf("%q: want %s, or %s", text, joined(association.Choices()), NoChoice)
	}
	return nil
}

func joined(choices []association.Choice) string {
	var words []string
	for _, choice := range choices {
		words = append(words, string(choice))
	}
	return strings.Join(words, ", ")
}

func checkBool(text string) error {
	if text != "true" && text != "false" {
		return fmt.Errorf("%q: want true or false", text)
	}
	return nil
}

func checkIdentity(text string) error {
	parsed, err := arn.Parse(text)
	if err != nil {
		return err
	}
	kind, _, _ := strings.Cut(parsed.Resource, "/")
	if parsed.Service != "iam" || !arn.IsAccount(parsed.Account) || kind != "role" && kind != "user" {
		return fmt.Errorf("%q is not the ARN of a role or user", text)
	}
	return nil
}

func checkEndpoint(text string) error {
	if endpoint, err := url.Parse(text); err != nil || endpoint.Host == "" ||
		endpoint.Scheme != "https" && endpoint.Scheme != "http" {
		return fmt.Errorf("%q: want an http or https URL", text)
	}
	return nil
}

func checkRole(text string) error {
	_, err := arn.ParseRole(text)
	return err
}
