package ssm

import (
	"github.com/rolecall/rolecall/internal/localaws/account"
)

type deleteInput struct{ Name string }

func deleteParameter(c *call, in *deleteInput) (any, error) {
	s, err := parseSelector(in.Name, c.arn(""))
	if err != nil {
		return nil, err
	}
	p, err := c.allowed("DeleteParameter", s.name)
	if err != nil {
		return nil, err
	}
	return nil, c.Account.Update(func(state account.State) error { return drop(state, c.Region, p.Name) })
}

type deleteManyInput struct{ Names []string }

func deleteParameters(c *call, in *deleteManyInput) (any, error) {
	if len(in.Names) == 0 || len(in.Names) > 10 {
		return nil, invalid(
			"1 validation error detected: Value '%s' at 'names' failed to satisfy constraint: Member must have "+
				"length between 1 and 10, inclusive",
			in.Names,
		)
	}
	deleted, missing := []string{}, []string{}
	for _, name := range in.Names {
		_, err := c.allowed("DeleteParameters", name)
		if isMissing(err) {
			missing = append(missing, name)
			continue
		}
		if err != nil {
			return nil, err
		}
		deleted = append(deleted, name)
	}
	result := struct{ DeletedParameters, InvalidParameters []string }{deleted, missing}
	return result, c.Account.Update(func(state account.State) error {
		for _, name := range deleted {
			if err := drop(state, c.Region, name); err != nil {
				return err
			}
		}
		return nil
	})
}
