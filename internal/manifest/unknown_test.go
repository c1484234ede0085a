package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/manifest"
)

// TestKindsThatAreNotKnown: objects of others' kinds that make pods are warned of, each,
// beside workloads that are injected, and keep their bytes; others are not.
func TestKindsThatAreNotKnown(t *testing.T) {
	t.Parallel()
	const accounts = `apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::111122223333:role/r"}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: plain}
---
apiVersion: rolecall.io/v1alpha1
kind: PodIdentityAssociation
metadata: {name: associated}
spec: {serviceAccountName: associated, roleARN: "arn:aws:iam::111122223333:role/r"}
---
apiVersion: v1
kind: Pod
metadata: {name: known}
spec: {serviceAccountName: reader, containers: [{name: a, image: i}]}
---
`
	for _, row := range []struct {
		name, object string
		warns        int // with an account that has a role, or that is not known
	}{
		{
			"a workflow", `apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: x}
spec:
  serviceAccountName: ACCOUNT
  entrypoint: a
  templates:
  - {name: a, container: {image: i, command: [x]}}
  - {name: b, script: {image: i, source: x}}
  - {name: c, containerSet: {containers: [{name: a, image: i}]}}
`, 1,
		},
		{
			"a workflow whose steps have accounts", `apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {generateName: x}
spec:
  workflowSpec:
    templates:
    - {name: a, serviceAccountName: ACCOUNT, container: {image: i}}
    - {name: b, serviceAccountName: plain, container: {image: i}}
`, 1,
		},
		{
			"a rollout", `apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: x}
spec: {template: {spec: {serviceAccountName: ACCOUNT, containers: [{name: a, image: i}]}}}
`, 1,
		},
		{
			"two templates", `apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: x}
spec:
  pytorchReplicaSpecs:
    Master: {template: {spec: {serviceAccountName: ACCOUNT, containers: [{name: a, image: i}]}}}
    Worker: {template: {spec: {serviceAccountName: ACCOUNT, containers: [{name: a, image: i}]}}}
`, 1,
		},
		{
			"a service", `apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: x}
spec: {template: {spec: {serviceAccountName: ACCOUNT, containers: [{image: i}]}}}
`, 1,
		},
		{
			"a pod by another name", `apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: x}
spec: {predictor: {serviceAccountName: ACCOUNT, containers: [{name: a, image: i}]}}
`, 1,
		},
		{
			"a job of another group", `apiVersion: batch.volcano.sh/v1alpha1
kind: Job
metadata: {name: x}
spec: {tasks: [{template: {spec: {serviceAccountName: ACCOUNT, containers: [{name: a, image: i}]}}}]}
`, 1,
		},
		{
			"an account and no more", `apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: x}
spec: {serviceAccountName: ACCOUNT}
`, 1,
		},
		{
			"an account of a part", `apiVersion: sparkoperator.k8s.io/v1beta2
kind: SparkApplication
metadata: {name: x}
spec: {image: i, driver: {cores: 1, serviceAccount: ACCOUNT}}
`, 1,
		},
		{
			"a policy about pods", `apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: x}
spec: {rules: [{validate: {pattern: {spec: {containers: [{image: "!*:latest"}]}}}}]}
`, 0,
		},
		{
			"a definition", `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x}
spec: {versions: [{schema: {openAPIV3Schema: {properties: {containers: {type: array}, serviceAccountName: {type: string}}}}}]}
`, 0,
		},
		{"no pods", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {serviceAccount: x}\n", 0},
		{
			"a binding", `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: x}
subjects: [{kind: ServiceAccount, name: ACCOUNT}]
`, 0,
		},
	} {
		for account, warns := range map[string]bool{"reader": true, "associated": true, "plain": false} {
			text := accounts + strings.ReplaceAll(row.object, "ACCOUNT", account)
			got, outcomes, err := manifest.Inject(
				[]manifest.Source{{Name: "all.yaml", Text: []byte(text)}}, inject.Defaults())
			if err != nil {
				t.Fatal(err)
			}
			warned, injected := 0, 0
			for _, o := range outcomes {
				if o.Injected {
					injected++
					continue
				}
				warned += len(o.Warnings)
				if o.Name != "x" || !strings.Contains(strings.Join(o.Warnings, "\n"), "only by the webhook") {
					t.Errorf("%s of %s: %+v", row.name, account, o)
				}
			}
			want := row.warns
			if !warns {
				want = 0
			}
			if warned != want || injected != 1 {
				t.Errorf("%s of %s: %d warnings, want %d; %d injected", row.name, account, warned, want, injected)
			}
			if end := strings.ReplaceAll(row.object, "ACCOUNT", account); !strings.HasSuffix(string(got), end) {
				t.Errorf("%s of %s is changed:\n%s", row.name, account, got)
			}
		}
	}
}

// TestKindsOfAccountsElsewhere: that the account is in no manifest does not silence it
// where pods are certain.
func TestKindsOfAccountsElsewhere(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]int{
		"{serviceAccountName: away, templates: [{container: {image: i}}]}": 1,
		"{templates: [{container: {image: i}}, {container: {image: j}}]}":  1,
		"{serviceAccountName: away}":                                       0,
		"{template: {spec: {containers: [{name: a, image: i}]}}}":          1,
	} {
		text := fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: x}\nspec: %s\n", spec)
		_, outcomes, err := manifest.Inject([]manifest.Source{{Name: "a.yaml", Text: []byte(text)}}, inject.Defaults())
		if err != nil || len(outcomes) != want {
			t.Errorf("%s: %+v, %v, want %d", spec, outcomes, err, want)
		}
	}
}
