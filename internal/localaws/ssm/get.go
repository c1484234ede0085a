package ssm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

type parameterJSON struct {
	ARN              string
	DataType         string
	LastModifiedDate wire.MilliTime
	Name             string
	Selector         string `json:",omitempty"`
	Type             string
	Value            string
	Version          int
}

// masked is what a SecureString looks like without decryption, where AWS shows
// the encrypted value.
func masked(arn string, v *ParameterVersion) string {
	return sealToken("encrypted", fmt.Sprintf("%s:%d", arn, v.Version))
}

func (c *call) value(name string, v *ParameterVersion, decrypt bool) string {
	if v.Type == "SecureString" && !decrypt {
		return masked(c.arn(name), v)
	}
	return v.Value
}

func (c *call) show(name string, v *ParameterVersion, decrypt bool, selected string) parameterJSON {
	return parameterJSON{
		ARN:              c.arn(name),
		DataType:         v.DataType,
		LastModifiedDate: wire.MilliTime(v.Modified),
		Name:             name,
		Selector:         selected,
		Type:             v.Type,
		Value:            c.value(name, v, decrypt),
		Version:          v.Version,
	}
}

// pick returns the version that is meant.
func pick(p *Parameter, s selector) *ParameterVersion {
	if s.version == 0 && s.label == "" {
		return p.Last()
	}
	for i := range p.Versions {
		v := &p.Versions[i]
		if v.Version == s.version || (s.label != "" && slices.Contains(v.Labels, s.label)) {
			return v
		}
	}
	return nil
}

type getInput struct {
	Name           string
	WithDecryption bool
}

func getParameter(c *call, in *getInput) (any, error) {
	s, err := parseSelector(in.Name, c.arn(""))
	if err != nil {
		return nil, err
	}
	if s.name == "" {
		return nil, checkName("")
	}
	p, err := c.allowed("GetParameter", s.name)
	if err != nil {
		return nil, err
	}
	v := pick(p, s)
	if v == nil {
		return nil, refuse(
			"ParameterVersionNotFound",
			"Systems Manager could not find version %s of %s. Verify the version and try again.",
			strings.TrimPrefix(s.suffix(), ":"), s.name,
		)
	}
	return struct{ Parameter parameterJSON }{c.show(p.Name, v, in.WithDecryption, s.suffix())}, nil
}

type getManyInput struct {
	Names          []string
	WithDecryption bool
}

type getManyOutput struct {
	InvalidParameters []string
	Parameters        []parameterJSON
}

// getParameters decides for each name, and refuses all if one is refused, as AWS
// does.
func getParameters(c *call, in *getManyInput) (any, error) {
	if len(in.Names) == 0 || len(in.Names) > 10 {
		return nil, invalid(
			"1 validation error detected: Value '%s' at 'names' failed to satisfy constraint: Member must have "+
				"length between 1 and 10, inclusive",
			in.Names,
		)
	}
	out := getManyOutput{[]string{}, []parameterJSON{}}
	for _, name := range in.Names {
		s, err := parseSelector(name, c.arn(""))
		if err != nil {
			return nil, err
		}
		p, err := c.allowed("GetParameters", s.name)
		if isMissing(err) {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		if err != nil {
			return nil, err
		}
		if v := pick(p, s); v != nil {
			out.Parameters = append(out.Parameters, c.show(p.Name, v, in.WithDecryption, s.suffix()))
		} else {
			out.InvalidParameters = append(out.InvalidParameters, name)
		}
	}
	return out, nil
}

type byPathInput struct {
	Path             string
	Recursive        bool
	WithDecryption   bool
	ParameterFilters []filter
	MaxResults       *int
	NextToken        string
}

type byPathOutput struct {
	NextToken  string `json:",omitempty"`
	Parameters []parameterJSON
}

func getByPath(c *call, in *byPathInput) (any, error) {
	if !strings.HasPrefix(in.Path, "/") || strings.Contains(in.Path, "//") ||
		(len(in.Path) > 1 && !namePattern.MatchString(in.Path)) {
		return nil, invalid(
			"The parameter doesn't meet the parameter name requirements. The parameter name must begin with a " +
				"forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). It must use " +
				"only letters, numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special " +
				"characters are not allowed. All sub-paths, if specified, must use the forward slash symbol \"/\". " +
				"Valid example: /get/parameters2-/by1./path0_.",
		)
	}
	recursive := map[bool]string{true: "true", false: "false"}[in.Recursive]
	if err := c.allow("GetParametersByPath", in.Path, nil, map[string]string{"ssm:Recursive": recursive}); err != nil {
		return nil, err
	}
	for _, one := range in.ParameterFilters {
		if err := one.check("Type", "KeyId", "Label"); err != nil {
			return nil, err
		}
	}
	below := strings.TrimSuffix(in.Path, "/") + "/"
	found, next, err := c.list("path "+in.Path, below, in.MaxResults, 10, in.NextToken, func(p *Parameter) bool {
		return (in.Recursive || !strings.Contains(p.Name[len(below):], "/")) && matchAll(in.ParameterFilters, p)
	})
	out := byPathOutput{NextToken: next, Parameters: []parameterJSON{}}
	for _, p := range found {
		out.Parameters = append(out.Parameters, c.show(p.Name, p.Last(), in.WithDecryption, ""))
	}
	return out, err
}

// list reads one page of the parameters whose names begin with prefix.
func (c *call) list(
	kind, prefix string, size *int, most int, token string, keep func(*Parameter) bool,
) (found []*Parameter, next string, err error) {
	limit, err := pageSize(size, 1, most)
	if err != nil {
		return nil, "", err
	}
	after, err := openToken(kind, token)
	if err != nil {
		return nil, "", err
	}
	err = c.Account.View(func(state account.State) error {
		return eachBelow(state, c.Region, prefix, func(p *Parameter) bool {
			if p.Name <= after || !keep(p) {
				return true
			}
			if len(found) == limit {
				next = sealToken(kind, found[limit-1].Name)
				return false
			}
			found = append(found, p)
			return true
		})
	})
	return found, next, err
}

type historyInput struct {
	Name           string
	WithDecryption bool
	MaxResults     *int
	NextToken      string
}

type historyJSON struct {
	metadataJSON
	Labels []string
	Value  string
}

func getHistory(c *call, in *historyInput) (any, error) {
	s, err := parseSelector(in.Name, c.arn(""))
	if err != nil {
		return nil, err
	}
	p, err := c.allowed("GetParameterHistory", s.name)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(in.MaxResults, 1, 50)
	if err != nil {
		return nil, err
	}
	after, err := openToken("history "+p.Name, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := struct {
		NextToken  string `json:",omitempty"`
		Parameters []historyJSON
	}{Parameters: []historyJSON{}}
	for i := range p.Versions {
		v := &p.Versions[i]
		place := fmt.Sprintf("%09d", v.Version)
		if place <= after {
			continue
		}
		if len(out.Parameters) == limit {
			out.NextToken = sealToken("history "+p.Name, fmt.Sprintf("%09d", out.Parameters[limit-1].Version))
			break
		}
		labels := v.Labels
		if labels == nil {
			labels = []string{}
		}
		shown := c.metadata(p.Name, v)
		shown.ARN = ""
		out.Parameters = append(out.Parameters, historyJSON{shown, labels, c.value(p.Name, v, in.WithDecryption)})
	}
	return out, nil
}
