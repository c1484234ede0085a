package ssm

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

type metadataJSON struct {
	ARN              string `json:",omitempty"`
	AllowedPattern   string `json:",omitempty"`
	DataType         string
	Description      string `json:",omitempty"`
	KeyID            string `json:"KeyId,omitempty"`
	LastModifiedDate wire.MilliTime
	LastModifiedUser string
	Name             string
	Policies         []struct{}
	Tier, Type       string
	Version          int
}

func (c *call) metadata(name string, v *ParameterVersion) metadataJSON {
	return metadataJSON{
		c.arn(name), v.AllowedPattern, v.DataType, v.Description, v.KeyID, wire.MilliTime(v.Modified), v.ModifiedBy,
		name,
		[]struct{}{},
		v.Tier, v.Type, v.Version,
	}
}

// filter is one of ParameterFilters; a parameter has to pass all of them.
type filter struct {
	Key, Option string
	Values      []string
}

// check refuses filters that do not exist. A key that ends in a colon stands
// for all that begin with it.
func (f filter) check(keys ...string) error {
	known := slices.ContainsFunc(keys, func(key string) bool {
		return key == f.Key || (strings.HasSuffix(key, ":") && strings.HasPrefix(f.Key, key) && f.Key != key)
	})
	if !known {
		return refuse(
			"InvalidFilterKey",
			"1 validation error detected: Value '%s' at 'parameterFilters' failed to satisfy constraint: Member "+
				"must satisfy one of: %s",
			f.Key, strings.Join(keys, ", "),
		)
	}
	options := []string{"", "Equals", "BeginsWith"}
	switch f.Key {
	case "Path":
		options = []string{"", "Recursive", "OneLevel"}
	case "Name":
		options = append(options, "Contains")
	case "Type", "Tier", "DataType", "Label":
		options = options[:2]
	}
	if !slices.Contains(options, f.Option) {
		return refuse(
			"InvalidFilterOption", "The following filter option is not valid: %s. Valid options include: %s.", f.Option,
			strings.Join(options[1:], ", "),
		)
	}
	if len(f.Values) > 50 || (len(f.Values) == 0 && !strings.HasPrefix(f.Key, "tag:")) {
		return refuse("InvalidFilterValue", "The following filter values are missing : null for filter key %s", f.Key)
	}
	return nil
}

func (f filter) match(p *Parameter) bool {
	v := p.Last()
	if tag, isTag := strings.CutPrefix(f.Key, "tag:"); isTag {
		i := slices.IndexFunc(p.Tags, func(one account.Tag) bool { return one.Key == tag })
		return i >= 0 && (len(f.Values) == 0 || f.matchText(p.Tags[i].Value))
	}
	switch f.Key {
	case "Name":
		return f.matchText(p.Name) || f.matchText(strings.TrimPrefix(p.Name, "/"))
	case "Type":
		return f.matchText(v.Type)
	case "KeyId":
		return f.matchText(v.KeyID)
	case "Tier":
		return f.matchText(v.Tier)
	case "DataType":
		return f.matchText(v.DataType)
	case "Label":
		return slices.ContainsFunc(v.Labels, f.matchText)
	case "Path":
		return slices.ContainsFunc(f.Values, func(path string) bool {
			rest, below := strings.CutPrefix(p.Name, strings.TrimSuffix(path, "/")+"/")
			return below && (f.Option == "Recursive" || !strings.Contains(rest, "/"))
		})
	}
	return false
}

func (f filter) matchText(text string) bool {
	return slices.ContainsFunc(f.Values, func(value string) bool {
		switch f.Option {
		case "BeginsWith":
			return strings.HasPrefix(text, value)
		case "Contains":
			return strings.Contains(text, value)
		}
		return text == value
	})
}

func matchAll(filters []filter, p *Parameter) bool {
	return !slices.ContainsFunc(filters, func(f filter) bool { return !f.match(p) })
}

type describeInput struct {
	// Filters are the older form: a parameter's text begins with one of the
	// values.
	Filters          []filter
	ParameterFilters []filter
	MaxResults       *int
	NextToken        string
}

func describeParameters(c *call, in *describeInput) (any, error) {
	if err := c.allowOn(
		"DescribeParameters", "arn:"+c.Account.Partition+":ssm:"+c.Region+":"+c.Account.ID+":*", nil, nil,
	); err != nil {
		return nil, err
	}
	if len(in.Filters) > 0 && len(in.ParameterFilters) > 0 {
		return nil, invalid("You can use either Filters or ParameterFilters in a single request.")
	}
	for i := range in.Filters {
		if in.Filters[i].Key == "Name" {
			in.Filters[i].Option = "BeginsWith"
		}
	}
	filters := slices.Concat(in.Filters, in.ParameterFilters)
	for _, one := range filters {
		if err := one.check("Path", "Name", "Type", "KeyId", "Tier", "DataType", "tag:"); err != nil {
			return nil, err
		}
	}
	found, next, err := c.list("describe", "", in.MaxResults, 50, in.NextToken, func(p *Parameter) bool {
		return matchAll(filters, p)
	})
	out := struct {
		NextToken  string `json:",omitempty"`
		Parameters []metadataJSON
	}{next, []metadataJSON{}}
	for _, p := range found {
		out.Parameters = append(out.Parameters, c.metadata(p.Name, p.Last()))
	}
	return out, err
}
