package awsapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/sts"

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

// Cluster is an EKS cluster as EKS describes it.
type Cluster struct {
	ARN, Name string
	// ID is that of a local cluster on an Outpost, which tokens are signed for; otherwise
	// empty.
	ID string
	// Endpoint is the API server's URL, CA the base64 of its authorities in PEM.
	Endpoint, CA string
	Status       string
}

// ClusterQuery says which cluster is asked about, and as whom.
type ClusterQuery struct {
	Name string
	// Region and Profile replace the environment's.
	Region, Profile string
	// RoleARN, if given, is assumed for the question.
	RoleARN string
}

// describeSession is the session's name that the AWS CLI uses for this question.
const describeSession = "EKSDescribeClusterSession"

// DescribeCluster asks EKS about a cluster. Errors are *Error, or say what of the
// configuration is wrong.
func DescribeCluster(ctx context.Context, q ClusterQuery) (Cluster, error) {
	var options []func(*config.LoadOptions) error
	if q.Region != "" {
		options = append(options, config.WithRegion(q.Region))
	}
	if q.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(q.Profile))
	}
	loaded, err := load(ctx, options...)
	if err != nil {
		return Cluster{}, fmt.Errorf("load AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		return Cluster{}, fault.New(fault.Usage, "which region is the cluster in?").
			Hint("add --region REGION, or set AWS_REGION")
	}
	if q.RoleARN != "" {
		loaded.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(
			sts.NewFromConfig(loaded), q.RoleARN,
			func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = describeSession },
		))
	}
	answer, err := eks.NewFromConfig(loaded).DescribeCluster(ctx, &eks.DescribeClusterInput{Name: aws.String(q.Name)})
	if err != nil {
		return Cluster{}, classify(err)
	}
	if answer.Cluster == nil {
		return Cluster{}, ErrUnusable
	}
	found := Cluster{
		ARN:      aws.ToString(answer.Cluster.Arn),
		Name:     aws.ToString(answer.Cluster.Name),
		Endpoint: aws.ToString(answer.Cluster.Endpoint),
		Status:   string(answer.Cluster.Status),
	}
	if answer.Cluster.CertificateAuthority != nil {
		found.CA = aws.ToString(answer.Cluster.CertificateAuthority.Data)
	}
	if answer.Cluster.OutpostConfig != nil {
		found.ID = aws.ToString(answer.Cluster.Id)
	}
	return found, nil
}

// Profile is what a profile of the shared configuration says of whom it becomes.
type Profile struct {
	// RoleARN is the role that it assumes, MFASerial the device that is asked for a code.
	RoleARN, MFASerial string
}

// ReadProfile reads a profile from the files that the environment names. One that is not
// there is an error.
func ReadProfile(ctx context.Context, name string) (Profile, error) {
	said, err := config.NewEnvConfig()
	if err != nil {
		return Profile{}, err
	}
	found, err := config.LoadSharedConfigProfile(ctx, name, func(o *config.LoadSharedConfigOptions) {
		if said.SharedConfigFile != "" {
			o.ConfigFiles = []string{said.SharedConfigFile}
		}
		if said.SharedCredentialsFile != "" {
			o.CredentialsFiles = []string{said.SharedCredentialsFile}
		}
	})
	if err != nil {
		return Profile{}, err
	}
	return Profile{RoleARN: found.RoleARN, MFASerial: found.MFASerial}, nil
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
