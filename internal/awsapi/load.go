package awsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// load reads the SDK's configuration. The SDK logs nothing: it would write to standard
// error in a form of its own, between the lines of a server's log or a command's answer.
// What goes wrong is an error. All clients that are made of it say who calls.
func load(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
	return config.LoadDefaultConfig(ctx, append(options, config.WithLogger(logging.Nop{}), config.WithAPIOptions(saysWho))...)
}
