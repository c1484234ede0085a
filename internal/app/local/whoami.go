package local

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
)

// whoamiReport is the JSON of `whoami`: an identity, or AWS's refusal.
type whoamiReport struct {
	*awsapi.Identity
	Error *whoamiError `json:"Error,omitempty"`
}

type whoamiError struct {
	Operation, Code, Message, RequestID string
	Status                              int
}

// NewWhoami returns the command that asks AWS who this process is.
func NewWhoami(sys cli.System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Print the AWS identity of this process",
		Long: `Ask sts:GetCallerIdentity with whatever credentials the AWS SDK finds in the
environment: in a pod, those its service account was given.`,
		Example: `  rolecall whoami
  rolecall run --service-account default/s3-reader -- rolecall whoami -o json`,
		Args: cli.NoArguments,
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		identity, err := awsapi.CallerIdentity(cmd.Context())
		if err != nil {
			return whoamiFailed(sys, *output, err)
		}
		if *output == "json" {
			return json.NewEncoder(sys.Stdout).Encode(whoamiReport{Identity: &identity})
		}
		fmt.Fprintln(sys.Stdout, identity.ARN)
		return nil
	}
	output = cli.Output(cmd, "text", "json")
	return cmd
}

func whoamiFailed(sys cli.System, output string, err error) error {
	answer, isAWS := errors.AsType[*awsapi.Error](err)
	if !isAWS {
		return fault.New(fault.Unavailable, "ask AWS who this is: %w", err).
			Hint("no credentials were found, or no endpoint answered; in a pod, look at its AWS_ variables")
	}
	if output == "json" {
		report := whoamiReport{Error: &whoamiError{
			Operation: answer.Operation,
			Code:      answer.Code,
			Message:   answer.Message,
			RequestID: answer.RequestID,
			Status:    answer.Status,
		}}
		if err := json.NewEncoder(sys.Stdout).Encode(report); err != nil {
			return err
		}
	}
	if answer.Operation == awsapi.ContainerCredentials {
		return fault.New(fault.Denied, "the agent gives no credentials: %w", err).
			Hint("rolecall association list --via eks --cluster-name NAME says which role the pod is to get")
	}
	refused := fault.New(fault.Denied, "AWS refused: %w", err)
	if endpoint := sys.Getenv("AWS_ENDPOINT_URL"); endpoint != "" && answer.RequestID != "" {
		return refused.Hint("if that is a local AWS, it tells why as long as it runs: rolecall why %s", answer.RequestID)
	}
	return refused.Hint("CloudTrail has the request as %s", answer.RequestID)
}
