package ssm

import (
	"errors"
	"slices"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

type tagInput struct {
	ResourceType string
	ResourceID   string `json:"ResourceId"`
	Tags         []account.Tag
	TagKeys      []string
}

// tagged finds the parameter of a call about tags.
func (c *call) tagged(action string, in *tagInput) (*Parameter, error) {
	if in.ResourceType != "Parameter" {
		return nil, refuse("InvalidResourceType", "The resource type is not valid.")
	}
	s, err := parseSelector(in.ResourceID, c.arn(""))
	if err != nil {
		return nil, err
	}
	found, err := c.find(s.name)
	if err != nil {
		return nil, err
	}
	more := map[string]string{}
	for _, tag := range in.Tags {
		more["aws:RequestTag/"+tag.Key] = tag.Value
	}
	var tags []account.Tag
	if found != nil {
		tags = found.Tags
	}
	if err := c.allow(action, s.name, tags, more); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, refuse(
			"InvalidResourceId", "The resource ID is not valid. Verify that you entered the correct ID and try again.",
		)
	}
	return found, nil
}

// changeTags changes the tags of a parameter.
func (c *call) changeTags(name string, f func([]account.Tag) []account.Tag) error {
	return c.change(name, func(p *Parameter) error {
		p.Tags = f(p.Tags)
		return checkTags(p.Tags)
	})
}

func without(tags []account.Tag, keys []string) []account.Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(tag account.Tag) bool { return slices.Contains(keys, tag.Key) })
}

func addTags(c *call, in *tagInput) (any, error) {
	p, err := c.tagged("AddTagsToResource", in)
	if err != nil {
		return nil, err
	}
	keys := []string{}
	for _, tag := range in.Tags {
		keys = append(keys, tag.Key)
	}
	return nil, c.changeTags(p.Name, func(tags []account.Tag) []account.Tag {
		return append(without(tags, keys), in.Tags...)
	})
}

func removeTags(c *call, in *tagInput) (any, error) {
	p, err := c.tagged("RemoveTagsFromResource", in)
	if err != nil {
		return nil, err
	}
	return nil, c.changeTags(p.Name, func(tags []account.Tag) []account.Tag { return without(tags, in.TagKeys) })
}

func listTags(c *call, in *tagInput) (any, error) {
	p, err := c.tagged("ListTagsForResource", in)
	if err != nil {
		return nil, err
	}
	return struct{ TagList []account.Tag }{append([]account.Tag{}, p.Tags...)}, nil
}

type labelInput struct {
	Name             string
	ParameterVersion int
	Labels           []string
}

const maxLabels = 10

// labelVersion moves labels to one version: the last, if none is named.
func labelVersion(c *call, in *labelInput) (any, error) {
	p, err := c.allowed("LabelParameterVersion", in.Name)
	if err != nil {
		return nil, err
	}
	bad, good := []string{}, []string{}
	for _, label := range in.Labels {
		if checkLabel(label) != nil {
			bad = append(bad, label)
		} else {
			good = append(good, label)
		}
	}
	version := in.ParameterVersion
	err = c.change(p.Name, func(p *Parameter) error {
		if version == 0 {
			version = p.Last().Version
		}
		v := pick(p, selector{version: version})
		if v == nil {
			return refuse(
				"ParameterVersionNotFound",
				"Systems Manager could not find version %d of %s. Verify the version and try again.", version, p.Name,
			)
		}
		for i := range p.Versions {
			p.Versions[i].Labels = slices.DeleteFunc(p.Versions[i].Labels, func(label string) bool {
				return slices.Contains(good, label)
			})
		}
		if v.Labels = append(v.Labels, good...); len(v.Labels) > maxLabels {
			return refuse(
				"ParameterVersionLabelLimitExceeded",
				"An error occurred (ParameterVersionLabelLimitExceeded) when calling the LabelParameterVersion "+
					"operation: A parameter version can have maximum %d labels.",
				maxLabels,
			)
		}
		return nil
	})
	return struct {
		InvalidLabels    []string
		ParameterVersion int
	}{bad, version}, err
}

func unlabelVersion(c *call, in *labelInput) (any, error) {
	p, err := c.allowed("UnlabelParameterVersion", in.Name)
	if err != nil {
		return nil, err
	}
	removed, missing := []string{}, []string{}
	err = c.change(p.Name, func(p *Parameter) error {
		v := pick(p, selector{version: in.ParameterVersion})
		if in.ParameterVersion == 0 || v == nil {
			return refuse(
				"ParameterVersionNotFound",
				"Systems Manager could not find version %d of %s. Verify the version and try again.",
				in.ParameterVersion, p.Name,
			)
		}
		for _, label := range in.Labels {
			if i := slices.Index(v.Labels, label); i >= 0 {
				v.Labels, removed = slices.Delete(v.Labels, i, i+1), append(removed, label)
			} else {
				missing = append(missing, label)
			}
		}
		return nil
	})
	return struct{ InvalidLabels, RemovedLabels []string }{missing, removed}, err
}

// isMissing reports whether an error says that there is no such parameter.
func isMissing(err error) bool {
	refused, ok := errors.AsType[*wire.Error](err)
	return ok && refused.Code == "ParameterNotFound"
}
