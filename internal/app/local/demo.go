package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/token"
)

// NewDemo returns the command that walks through all of it.
func NewDemo(sys cli.System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Walk a pod's way to its IAM role on this machine, nothing needed",
		Long: `Start local AWS, issuer, webhook, broker and agent in one process on free loopback
ports, load the quickstart example, inject its pod, mint its token, let the AWS SDK
for Go assume the role - and then show three requests that AWS refuses, each with the
reason that AWS hides. Then the same by Pod Identity: an association, the agent,
session tags that decide, and a token that outlived its pod. Exits 0 only if every
step did what it says.`,
		Example: `  rolecall demo
  rolecall demo -o json`,
		Args: cli.NoArguments,
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		report := newDemoReport(sys.Stdout, *output)
		return runDemo(cmd.Context(), sys, report)
	}
	output = cli.Output(cmd, "text", "json")
	return cmd
}

// demo is the walk: what its steps share.
type demo struct {
	sys    cli.System
	report *demoReport
	plane  *plane.Plane
	client *plane.Client
	dir    string // for token files
	iam    *awsapi.IAM
}

func runDemo(ctx context.Context, sys cli.System, report *demoReport) error {
	started, err := startPlane(ctx, sys, planeOptions{})
	if interrupted := cli.InterruptOf(ctx); interrupted != nil && err != nil {
		return interrupted
	}
	if err != nil {
		return err
	}
	defer func() { _ = started.Close() }()
	dir, err := os.MkdirTemp("", "rolecall-demo-")
	if err != nil {
		return fault.New(fault.Unavailable, "make a folder for tokens: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	endpoints := started.Endpoints()
	d := &demo{
		sys: sys, report: report, plane: started, client: plane.NewClient(endpoints), dir: dir,
		iam: awsapi.NewIAM(endpoints.AWS, endpoints.Region, started.Admin()),
	}
	d.showPlane()
	for _, walk := range []func(context.Context) error{
		d.takeRole, d.wrongServiceAccount, d.wrongAudience, d.misspeltIssuer, d.podIdentity,
	} {
		if err := cli.WriteError(sys.Stdout); err != nil {
			return err
		}
		err := walk(ctx)
		if interrupted := cli.InterruptOf(ctx); interrupted != nil {
			return interrupted
		}
		if err != nil {
			return report.abort(err)
		}
	}
	return report.finish()
}

func (d *demo) showPlane() {
	endpoints := d.plane.Endpoints()
	d.report.add(demoStep{
		Title: "the plane, on free ports of this machine",
		Asked: "local AWS, issuer, webhook, broker and agent to start; " +
			"the quickstart's roles and provider to be created",
		By: "the local administrator, through the AWS SDK",
		Checked: []string{
			"local AWS  " + endpoints.AWS + "  account " + d.plane.Account() + ", " + endpoints.Region,
			"issuer     " + endpoints.Tokens + "  serves " + d.plane.Issuer(),
			"webhook    " + endpoints.Webhook,
			"agent      " + endpoints.Agent + "  its broker is on local AWS's port, for cluster " + quickstart.Cluster,
			"provider   " + d.plane.ProviderARN() + "  client ids " + strings.Join(d.plane.Audiences(), ", "),
		},
		Answer: d.plane.RoleARN(), Expected: "role/" + quickstart.Role,
	})
}

// takeRole is the way that works, in three steps.
func (d *demo) takeRole(ctx context.Context) error {
	pod, err := yaml.YAMLToJSON(quickstart.Pod)
	if err != nil {
		return fmt.Errorf("read the quickstart's pod: %w", err)
	}
	workload, err := d.client.Prepare(ctx, "default", pod, filepath.Join(d.dir, "good"), plane.ViaWebhook)
	if err != nil {
		return err
	}
	defer func() { _ = workload.Close(ctx) }()
	d.showAdmission(workload)
	if err := d.showToken(workload); err != nil {
		return err
	}
	who, err := d.whoami(ctx, workload)
	if err != nil {
		return err
	}
	step := demoStep{
		Title: "the container asks AWS who it is",
		Asked: "sts:AssumeRoleWithWebIdentity, then sts:GetCallerIdentity",
		By:    "the AWS SDK for Go in container iam-test, with nothing but the injected environment",
		Checked: []string{
			"token signature with the issuer's published key",
			"issuer and audience against the account's OIDC provider",
			"subject and audience against the trust policy of " + d.plane.RoleARN(),
			"request signature with the credentials that were handed out",
		},
		Answer: who.Arn, Expected: "arn:aws:sts::" + quickstart.Account + ":assumed-role/" + quickstart.Role + "/",
	}
	if who.Error != nil {
		step.refusedBy(who.Error, "")
	}
	d.report.add(step)
	return nil
}

func (d *demo) showAdmission(workload *plane.Workload) {
	var admitted corev1.Pod
	_ = json.Unmarshal(workload.Admission.Pod, &admitted) // decoded once already by Prepare
	var checked []string
	for _, container := range admitted.Spec.Containers {
		checked = append(checked,
			fmt.Sprintf("container %s: %d variables, %d mounts", container.Name, len(container.Env),
				len(container.VolumeMounts)))
	}
	for _, volume := range admitted.Spec.Volumes {
		if volume.Projected != nil && volume.Projected.Sources[0].ServiceAccountToken != nil {
			source := volume.Projected.Sources[0].ServiceAccountToken
			checked = append(checked,
				fmt.Sprintf("volume %s: token for audience %s, %d s", volume.Name, source.Audience,
					*source.ExpirationSeconds))
		}
	}
	d.report.add(demoStep{
		Title:   "the webhook injects the pod",
		Asked:   "AdmissionReview of pod default/iam-test",
		By:      "the API server's place, over HTTPS",
		Checked: checked, Answer: strings.Join(variableNames(workload.Env),
			" "), Expected: "AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE",
	})
}

func (d *demo) showToken(workload *plane.Workload) error {
	if len(workload.Tokens) != 1 {
		return fault.New(fault.Internal, "the pod mounts %d tokens, want 1", len(workload.Tokens))
	}
	projected := workload.Tokens[0]
	raw, err := os.ReadFile(projected.Path)
	if err != nil {
		return fmt.Errorf("read the token file: %w", err)
	}
	verifier := token.Verifier{
		Issuer:    d.plane.Issuer(),
		Audiences: []string{quickstart.Audience},
		Keys:      d.plane.KeySet(),
	}
	claims, err := verifier.Verify(credential.NewSecret(string(raw)), d.sys.Now())
	if err != nil {
		return fmt.Errorf("verify the pod's token: %w", err)
	}
	d.report.add(demoStep{
		Title: "the issuer mints the pod's token",
		Asked: "TokenRequest for default/s3-reader",
		By:    "the kubelet's place",
		Checked: []string{
			"iss " + claims.Issuer, "aud " + strings.Join(claims.Audiences, ","),
			"pod " + claims.Workload.Namespace + "/" + claims.Workload.Pod.Name,
			"valid " + claims.Expiry.Sub(claims.IssuedAt).String(),
		},
		Answer: claims.Subject, Expected: "system:serviceaccount:default:s3-reader",
	})
	return nil
}

func (d *demo) wrongServiceAccount(ctx context.Context) error {
	return d.refused(ctx, refusal{
		title: "another service account tries the same role", namespace: "default", serviceAccount: "s3-writer",
		code: "AccessDenied", reason: "system:serviceaccount:default:s3-writer",
	})
}

func (d *demo) wrongAudience(ctx context.Context) error {
	return d.refused(ctx, refusal{
		title: "a token for an audience nobody registered", namespace: "wrong-audience", serviceAccount: "s3-reader",
		code: "InvalidIdentityToken", reason: `tset`,
	})
}

func (d *demo) misspeltIssuer(ctx context.Context) error {
	if err := d.iam.SetTrust(ctx, quickstart.Role, string(quickstart.TrustPolicyTypo)); err != nil {
		return err
	}
	return d.refused(ctx, refusal{
		title:          "the trust policy misspells the issuer (oidc.REGION.eks…)",
		namespace:      "default",
		serviceAccount: "s3-reader",
		code:           "AccessDenied", reason: "oidc.us-east-1.eks.amazonaws.com",
	})
}

// refusal is an attempt that must fail, and what its reason must name.
type refusal struct {
	title, namespace, serviceAccount, code, reason string
}

func (d *demo) refused(ctx context.Context, attempt refusal) error {
	pod, err := plane.MinimalPod(attempt.serviceAccount)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(d.dir, "refused-")
	if err != nil {
		return fmt.Errorf("make a folder for the token: %w", err)
	}
	workload, err := d.client.Prepare(ctx, attempt.namespace, pod, dir, plane.ViaWebhook)
	if err != nil {
		return err
	}
	defer func() { _ = workload.Close(ctx) }()
	who, err := d.whoami(ctx, workload)
	if err != nil {
		return err
	}
	step := demoStep{
		Title: attempt.title, Asked: "sts:AssumeRoleWithWebIdentity for " + d.plane.RoleARN(),
		By:     "the AWS SDK for Go as " + attempt.namespace + "/" + attempt.serviceAccount,
		Answer: who.Arn, Expected: attempt.code, ExpectedReason: attempt.reason,
	}
	if who.Error != nil {
		diagnosis, err := d.client.Diagnose(ctx, who.Error.RequestID)
		if err != nil {
			return err
		}
		step.refusedBy(who.Error, diagnosis.Reason)
	}
	d.report.add(step)
	return nil
}

// whoamiAnswer is the JSON that `whoami -o json` prints.
type whoamiAnswer struct {
	Arn   string
	Error *whoamiError
}

// whoami runs `rolecall whoami` as the workload: a process of its own, so that
// the SDK meets the injected environment and nothing else.
func (d *demo) whoami(ctx context.Context, workload *plane.Workload) (*whoamiAnswer, error) {
	self, err := d.sys.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	var stdout, stderr bytes.Buffer
	program := exec.CommandContext(ctx, self, "whoami", "-o", "json")
	program.Stdout, program.Stderr = &stdout, &stderr
	program.Env = podEnvironment(d.sys.Environ(), d.plane.Endpoints(), workload, d.dir)
	if err := program.Run(); err != nil && stdout.Len() == 0 {
		return nil, fmt.Errorf("run whoami: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var who whoamiAnswer
	if err := json.Unmarshal(stdout.Bytes(), &who); err != nil {
		return nil, fmt.Errorf("read what whoami said: %w", err)
	}
	return &who, nil
}

func variableNames(env []string) []string {
	names := make([]string, len(env))
	for i, variable := range env {
		names[i], _, _ = strings.Cut(variable, "=")
	}
	return names
}
