package awsapi

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/rolecall/rolecall/internal/arn"
)

// instanceTimeout covers all attempts: outside EC2 nothing answers.
const instanceTimeout = 10 * time.Second

// EC2Instance is where this process runs.
type EC2Instance struct {
	Account, Region, Partition string
}

// Instance asks the EC2 metadata service, at its well-known address if the endpoint is
// empty.
func Instance(ctx context.Context, endpoint string) (EC2Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, instanceTimeout)
	defer cancel()
	document, err := imds.New(imds.Options{Endpoint: endpoint, APIOptions: saysWho}).GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return EC2Instance{}, fmt.Errorf("read the instance identity document: %w", err)
	}
	if !arn.IsAccount(document.AccountID) {
		return EC2Instance{}, fmt.Errorf("read the instance identity document: account %q", document.AccountID)
	}
	return EC2Instance{document.AccountID, document.Region, arn.PartitionOf(document.Region)}, nil
}
