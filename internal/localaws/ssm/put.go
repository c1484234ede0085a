package ssm

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// Sizes of values in bytes, by tier, and how many versions are kept.
const (
	standardSize = 4096
	advancedSize = 8192
	maxVersions  = 100
	maxTags      = 50
)

type putInput struct {
	Name, Value, Type, Description, AllowedPattern, DataType, Policies, Tier string

	KeyID     string `json:"KeyId"`
	Overwrite bool
	Tags      []account.Tag
}

type putOutput struct {
	Tier    string
	Version int
}

func putParameter(c *call, in *putInput) (any, error) {
	s, err := parseSelector(in.Name, c.arn(""))
	if err != nil {
		return nil, err
	}
	existing, err := c.find(s.name)
	if err != nil {
		return nil, err
	}
	more := map[string]string{"ssm:Overwrite": "false"}
	if in.Overwrite {
		more["ssm:Overwrite"] = "true"
	}
	var tags []account.Tag
	if existing != nil {
		tags = existing.Tags
	}
	for _, tag := range in.Tags {
		more["aws:RequestTag/"+tag.Key] = tag.Value
	}
	if err := c.allow("PutParameter", s.name, tags, more); err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 {
		if err := c.allow("AddTagsToResource", s.name, tags, more); err != nil {
			return nil, err
		}
	}
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	version := ParameterVersion{
		Version:        1,
		Type:           in.Type,
		Value:          in.Value,
		Description:    in.Description,
		KeyID:          in.KeyID,
		AllowedPattern: in.AllowedPattern,
		Policies:       in.Policies,
		Tier:           in.Tier,
		DataType:       cmp.Or(in.DataType, "text"),
		Modified:       c.Time.UTC(),
		ModifiedBy:     c.Caller.Principal.ARN,
	}
	err = c.Account.Update(func(state account.State) error {
		p, err := optional(lookUp(state, c.Region, in.Name))
		if err != nil {
			return err
		}
		if p == nil {
			p = &Parameter{Name: in.Name, Tags: in.Tags}
		} else if err := follow(p, &version, in); err != nil {
			return err
		}
		if err := checkVersion(&version); err != nil {
			return err
		}
		if p.Versions = append(p.Versions, version); len(p.Versions) > maxVersions {
			if len(p.Versions[0].Labels) > 0 {
				return refuse(
					"ParameterMaxVersionLimitExceeded",
					"You attempted to create a new version of %s by calling the PutParameter API with the overwrite "+
						"flag. Version %d, the oldest version, can't be deleted because it has a label associated "+
						"with it. Move the label to another version of the parameter, and try again.",
					p.Name, p.Versions[0].Version,
				)
			}
			p.Versions = p.Versions[1:]
		}
		return keep(state, c.Region, p)
	})
	return putOutput{version.Tier, version.Version}, err
}

// follow makes the version one that comes after the existing ones.
func follow(p *Parameter, version *ParameterVersion, in *putInput) error {
	last := p.Last()
	switch {
	case !in.Overwrite:
		return refuse(
			"ParameterAlreadyExists",
			"The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
		)
	case len(in.Tags) > 0:
		return invalid(
			"Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please " +
				"remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or " +
				"RemoveTagsFromResource.",
		)
	case in.Tier == "Standard" && last.Tier == "Advanced":
		return invalid(
			"This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the " +
				"advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced " +
				"parameter and recreate it as a standard parameter.",
		)
	}
	version.Version = last.Version + 1
	version.Type = cmp.Or(version.Type, last.Type)
	version.Description = cmp.Or(version.Description, last.Description)
	version.Tier = cmp.Or(version.Tier, last.Tier)
	version.AllowedPattern = cmp.Or(version.AllowedPattern, last.AllowedPattern)
	if version.Type == "SecureString" {
		version.KeyID = cmp.Or(version.KeyID, last.KeyID)
	}
	return nil
}

func checkVersion(v *ParameterVersion) error {
	switch {
	case v.Type == "":
		return invalid("A parameter type is required when you create a parameter.")
	case !slices.Contains([]string{"String", "StringList", "SecureString"}, v.Type):
		return invalid(
			"1 validation error detected: Value '%s' at 'type' failed to satisfy constraint: Member must satisfy "+
				"enum value set: [SecureString, StringList, String]",
			v.Type,
		)
	case v.Value == "":
		return invalid(
			"1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length " +
				"greater than or equal to 1",
		)
	case v.KeyID != "" && v.Type != "SecureString":
		return invalid("KeyId is required for SecureString type parameter only.")
	case !slices.Contains([]string{"", "Standard", "Advanced", "Intelligent-Tiering"}, v.Tier):
		return invalid(
			"1 validation error detected: Value '%s' at 'tier' failed to satisfy constraint: Member must satisfy "+
				"enum value set: [Standard, Advanced, Intelligent-Tiering]",
			v.Tier,
		)
	case v.DataType != "text" && v.DataType != "aws:ec2:image" && v.DataType != "aws:ssm:integration":
		return invalid("The following data type is not supported: %s", v.DataType)
	case len(v.Description) > 1024:
		return invalid(
			"1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have " +
				"length less than or equal to 1024",
		)
	}
	if v.Type == "SecureString" {
		v.KeyID = cmp.Or(v.KeyID, "alias/aws/ssm")
	}
	if v.Tier == "Intelligent-Tiering" {
		v.Tier = "Standard"
		if len(v.Value) > standardSize || v.Policies != "" {
			v.Tier = "Advanced"
		}
	}
	switch v.Tier = cmp.Or(v.Tier, "Standard"); {
	case v.Tier == "Standard" && len(v.Value) > standardSize:
		return invalid(
			"Standard tier parameters support a maximum parameter value of %d characters. To create a larger "+
				"parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, "+
				"see https://docs.aws.amazon.com/systems-manager/latest/userguide/"+
				"parameter-store-advanced-parameters.html",
			standardSize,
		)
	case len(v.Value) > advancedSize:
		return invalid("Advanced tier parameters support a maximum parameter value of %d characters.", advancedSize)
	case v.Tier == "Standard" && v.Policies != "":
		return invalid("Parameter policies are supported for advanced tier parameters only.")
	}
	return checkPattern(v)
}

// checkPattern checks a value against the parameter's own rule.
func checkPattern(v *ParameterVersion) error {
	if v.AllowedPattern == "" {
		return nil
	}
	pattern, err := regexp.Compile(`^(?:` + v.AllowedPattern + `)$`)
	if err != nil || len(v.AllowedPattern) > 1024 {
		return refuse("InvalidAllowedPatternException", "The request does not meet the regular expression requirement.")
	}
	if !pattern.MatchString(v.Value) {
		return refuse(
			"ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: %s",
			v.AllowedPattern,
		)
	}
	return nil
}

func checkTags(tags []account.Tag) error {
	if len(tags) > maxTags {
		return refuse("TooManyTagsError", "")
	}
	seen := map[string]bool{}
	for _, tag := range tags {
		switch {
		case tag.Key == "" || len(tag.Key) > 128 || len(tag.Value) > 256:
			return invalid("The tag %q is not valid: keys have 1 to 128 characters, values at most 256.", tag.Key)
		case strings.HasPrefix(arn.FoldKey(tag.Key), "aws:"):
			return invalid("aws: prefixed tag key names are not allowed for external use.")
		case seen[tag.Key]:
			return invalid("Duplicate tag keys are not allowed.")
		}
		seen[tag.Key] = true
	}
	return nil
}
