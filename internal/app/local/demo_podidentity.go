package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// The parameters that the quickstart's second role may and may not read.
const (
	clusterTag     = "eks-cluster-name"
	ownParameter   = "/quickstart/greeting"
	otherParameter = "/other/greeting"
)

// podIdentity is the same walk by Pod Identity: the pod asks an agent, which asks
// the broker, which has a role taken with session tags.
func (d *demo) podIdentity(ctx context.Context) error {
	workload, err := d.preparePod(ctx, "config-reader")
	if err != nil {
		return err
	}
	defer func() { _ = workload.Close(ctx) }()
	d.report.add(demoStep{
		Title: "a service account with an association",
		Asked: "AdmissionReview of a pod of default/config-reader, which has no annotation",
		By:    "the API server's place, over HTTPS",
		Checked: []string{
			"association default/config-reader of cluster " + quickstart.Cluster + ": role " +
				quickstart.PodIdentityRole,
		},
		Answer: strings.Join(variableNames(workload.Env),
			" "), Expected: "AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	})
	who, err := d.whoami(ctx, workload)
	if err != nil {
		return err
	}
	step := demoStep{
		Title: "its container asks AWS who it is", Asked: "the agent for credentials, then sts:GetCallerIdentity",
		By: "the AWS SDK for Go in the container, with nothing but the injected environment",
		Checked: []string{
			"the agent shows the broker the pod's token, and one of its own",
			"the broker finds the pod there, on the agent's node, and its association",
			"the broker mints a token for this pod and this role, which carries six session tags",
			"AWS verifies that token with the issuer's published key, and the role's trust policy",
		},
		Answer: who.Arn,
		Expected: "arn:aws:sts::" + quickstart.Account + ":assumed-role/" + quickstart.PodIdentityRole +
			"/eks-" + quickstart.Cluster + "-",
	}
	if who.Error != nil {
		step.refusedBy(who.Error, "")
	}
	d.report.add(step)
	if err := d.sessionTags(ctx, workload); err != nil {
		return err
	}
	return d.deletedPod(ctx)
}

func (d *demo) preparePod(ctx context.Context, account string) (*plane.Workload, error) {
	pod, err := plane.MinimalPod(account)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(d.dir, "pod-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the token: %w", err)
	}
	return d.client.Prepare(ctx, "default", pod, dir, plane.ViaWebhook)
}

// sessionTags reads a parameter of this cluster and one of another: one policy,
// which compares the parameter's tag with the session's.
func (d *demo) sessionTags(ctx context.Context, workload *plane.Workload) error {
	endpoints := d.plane.Endpoints()
	admin := awsapi.NewParameters(endpoints.AWS, endpoints.Region, d.plane.Admin())
	for name, cluster := range map[string]string{ownParameter: quickstart.Cluster, otherParameter: "other"} {
		if err := admin.Create(ctx, name, "hello from "+cluster, clusterTag, cluster); err != nil {
			return err
		}
	}
	given, refused, err := d.askAgent(ctx, workload)
	if err != nil {
		return err
	}
	if refused != nil {
		return fault.New(fault.Internal, "the agent refused credentials: %s: %s", refused.Code, refused.Message)
	}
	parameters := awsapi.NewParameters(endpoints.AWS, endpoints.Region, given)
	for _, name := range []string{ownParameter, otherParameter} {
		step := demoStep{
			Title: "a policy that uses the session's tags: " + name,
			Asked: "ssm:GetParameter " + name,
			By:    "the container, with the agent's credentials",
			Checked: []string{
				"ssm:ResourceTag/" + clusterTag + " equals ${aws:PrincipalTag/" + clusterTag + "}",
			}, Expected: "hello from " + quickstart.Cluster,
		}
		if name == otherParameter {
			step.Expected, step.ExpectedReason = "AccessDeniedException", clusterTag
		}
		var failed error
		if step.Answer, failed = parameters.Get(ctx, name); failed != nil {
			answer, isAWS := errors.AsType[*awsapi.Error](failed)
			if !isAWS {
				return failed
			}
			diagnosis, err := d.client.Diagnose(ctx, answer.RequestID)
			if err != nil {
				return err
			}
			step.refusedBy(&whoamiError{answer.Operation, answer.Code, answer.Message, answer.RequestID, answer.Status},
				diagnosis.Reason)
		}
		d.report.add(step)
	}
	return nil
}

// deletedPod keeps a pod's token after the pod is gone.
func (d *demo) deletedPod(ctx context.Context) error {
	workload, err := d.preparePod(ctx, "config-reader")
	if err != nil {
		return err
	}
	if err := workload.Close(ctx); err != nil {
		return err
	}
	step := demoStep{
		Title:    "a token that outlived its pod",
		Asked:    "the agent for credentials",
		By:       "a process that kept the token of a deleted pod",
		Expected: "InvalidTokenException", ExpectedReason: "pod no longer exists",
	}
	given, refused, err := d.askAgent(ctx, workload)
	if err != nil {
		return err
	}
	step.Answer = given.AccessKeyID
	if refused != nil {
		step.refusedBy(
			&whoamiError{
				Operation: "agent: " + http.MethodGet,
				Code:      refused.Code,
				Status:    refused.Status,
				Message:   refused.Message,
			},
			refused.Message)
	}
	d.report.add(step)
	return nil
}

// agentRefusal is what an agent says no with.
type agentRefusal struct {
	Code, Message string
	Status        int
}

// askAgent asks as an SDK does: the injected address, with the injected token.
func (d *demo) askAgent(ctx context.Context, workload *plane.Workload) (credential.AWS, *agentRefusal, error) {
	raw, err := os.ReadFile(filepath.Clean(workload.Tokens[0].Path))
	if err != nil {
		return credential.AWS{}, nil, fmt.Errorf("read the token file: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.plane.Endpoints().Agent, nil)
	if err != nil {
		return credential.AWS{}, nil, err
	}
	request.Header.Set("Authorization", string(raw))
	response, err := (&http.Client{Transport: &http.Transport{}}).Do(request) // no proxy: it is this machine
	if err != nil {
		return credential.AWS{}, nil, fault.New(fault.Unavailable, "ask the agent: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return credential.AWS{}, nil, fault.New(fault.Unavailable, "read the agent's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		refused := &agentRefusal{Status: response.StatusCode}
		return credential.AWS{}, refused, json.Unmarshal(body, refused)
	}
	var answer struct{ AccessKeyID, SecretAccessKey, Token string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return credential.AWS{}, nil, fmt.Errorf("read the agent's answer: %w", err)
	}
	return credential.AWS{
		AccessKeyID:  answer.AccessKeyID,
		SecretKey:    credential.NewSecret(answer.SecretAccessKey),
		SessionToken: credential.NewSecret(answer.Token),
	}, nil, nil
}
