package awsapi

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/eks"

	"github.com/rolecall/rolecall/internal/fault"
)

// Clusters returns the names of the EKS clusters in the account's region.
func (a *Account) Clusters(ctx context.Context) ([]string, error) {
	var names []string
	pages := eks.NewListClustersPaginator(eks.NewFromConfig(a.config), &eks.ListClustersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, classify(err)
		}
		names = append(names, page.Clusters...)
	}
	return names, nil
}

// ExplainAssociation makes a fault of what the EKS API said of an association, with what
// to do about it. Errors of others stay as they are.
func ExplainAssociation(err error) error {
	answer, isAWS := errors.AsType[*Error](err)
	if !isAWS {
		return err
	}
	kinds := map[string]fault.Kind{
		"ResourceNotFoundException":      fault.NotFound,
		"NotFoundException":              fault.NotFound,
		"ResourceInUseException":         fault.Conflict,
		"InvalidParameterException":      fault.Invalid,
		"InvalidRequestException":        fault.Invalid,
		"AccessDeniedException":          fault.Denied,
		"ThrottlingException":            fault.Throttled,
		"ServerException":                fault.Unavailable,
		"ResourceLimitExceededException": fault.Conflict,
	}
	explained := fault.New(kinds[answer.Code], "%w", err)
	switch answer.Message {
	case "Role provided in the request does not exist":
		return explained.Hint("aws iam get-role --role-name NAME shows whether it exists; " +
			"the role must be in the cluster's account")
	case "Trust policy of the role provided is invalid":
		return explained.Hint("the role must trust the service pods.eks.amazonaws.com with sts:AssumeRole and " +
			"sts:TagSession: `rolecall trust generate` prints the statement")
	}
	return explained
}
