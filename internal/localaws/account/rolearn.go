package account

import (
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

// ParseRole reads the ARN of a role as AWS does when it looks one up: names that
// no role can have are left to the lookup. arn.ParseRole, the product's rule,
// refuses more.
func ParseRole(text string) (arn.Role, error) {
	a, err := arn.Parse(text)
	if err != nil {
		return arn.Role{}, err
	}
	rest, isRole := strings.CutPrefix(a.Resource, "role/")
	if a.Service != "iam" || a.Region != "" || !isRole || !arn.IsAccount(a.Account) {
		return arn.Role{}, fmt.Errorf("%q is not a role ARN: want arn:PARTITION:iam::ACCOUNT:role/NAME", text)
	}
	last := strings.LastIndexByte(rest, '/')
	role := arn.Role{Partition: a.Partition, Account: a.Account, Path: "/" + rest[:last+1], Name: rest[last+1:]}
	if role.Name == "" {
		return arn.Role{}, fmt.Errorf("%q names no role after role/", text)
	}
	return role, nil
}
