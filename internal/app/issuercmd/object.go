package issuercmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/rotation"
)

// objectReport is `rotate status --issuer` for programs: what the controller has
// written down, and nothing that was looked at.
type objectReport struct {
	Issuer string         `json:"issuer"`
	State  rotation.State `json:"state"`
	Gate   rotation.Gate  `json:"gate"`
	// Exchanges counts rounds of the canary.
	Exchanges  int32                `json:"exchanges,omitempty"`
	Keys       []v1alpha1.KeyStatus `json:"keys"`
	Conditions []metav1.Condition   `json:"conditions"`
}

// objectStatus prints how far the controller is with an Issuer.
func objectStatus(ctx context.Context, sys cli.System, kubeconfig, name, output string) error {
	object, err := readIssuer(ctx, kubeconfig, name)
	if err != nil {
		return err
	}
	report := newObjectReport(object, sys.Now())
	if output == "json" {
		return cli.PrintJSON(sys.Stdout, report)
	}
	return report.print(sys.Stdout)
}

func objectReader(kubeconfig string) (client.Client, error) {
	config, err := flags.KubeConfig(kubeconfig, "")
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	reader, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "reach API server %s: %w", config.Host, err)
	}
	return reader, nil
}

// issuersOf returns the Issuer objects of an issuer URL; none where the cluster has no such
// kind.
func issuersOf(ctx context.Context, kubeconfig, url string) ([]v1alpha1.Issuer, error) {
	reader, err := objectReader(kubeconfig)
	if err != nil {
		return nil, err
	}
	var list v1alpha1.IssuerList
	if err := reader.List(ctx, &list); meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list Issuers: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(i v1alpha1.Issuer) bool { return i.Spec.URL != url }), nil
}

func readIssuer(ctx context.Context, kubeconfig, name string) (*v1alpha1.Issuer, error) {
	reader, err := objectReader(kubeconfig)
	if err != nil {
		return nil, err
	}
	object := &v1alpha1.Issuer{}
	switch err := reader.Get(ctx, client.ObjectKey{Name: name}, object); {
	case meta.IsNoMatchError(err):
		return nil, fault.New(fault.NotFound, "the cluster has no kind Issuer").
			Hint("without --issuer the rotation of --dir is shown")
	case apierrors.IsNotFound(err):
		return nil, noIssuer(ctx, reader, name)
	case err != nil:
		return nil, fault.New(fault.Unavailable, "read Issuer %s: %w", name, err)
	}
	return object, nil
}

// noIssuer says which Issuers there are instead of the one that was named.
func noIssuer(ctx context.Context, reader client.Client, name string) error {
	missing := fault.New(fault.NotFound, "there is no Issuer %s", name)
	var list v1alpha1.IssuerList
	if err := reader.List(ctx, &list); err != nil { // somebody may read named ones only
		return missing.Hint("kubectl get issuers.rolecall.io lists them")
	}
	if len(list.Items) == 0 {
		return missing.Hint("the cluster has no Issuer objects; without --issuer the rotation of --dir is shown")
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return missing.Hint("the cluster has Issuer %s", strings.Join(names, ", "))
}

func newObjectReport(object *v1alpha1.Issuer, now time.Time) objectReport {
	state := plan.StateOf(object, now)
	if object.Status.Rotation == nil || object.Status.Rotation.Phase == "" {
		state.Since = time.Time{} // nothing has been written down yet
	}
	_, gate := rotation.Look(state, rotation.Parameters{}, rotation.Facts{})
	gate.Waiting, gate.Dangers = nil, nil // the controller's count, not those of a look at nothing
	report := objectReport{
		Issuer:     object.Spec.URL,
		State:      state,
		Keys:       object.Status.Keys,
		Conditions: object.Status.Conditions,
	}
	if r := object.Status.Rotation; r != nil {
		report.Exchanges, gate.Evidence = r.Exchanges, r.Evidence
		if r.WaitingFor != "" {
			gate.Waiting = []string{r.WaitingFor}
		}
		if r.NextNotBefore != nil {
			gate.NotBefore = r.NextNotBefore.Time
		}
	}
	switch {
	case object.Spec.Rotation == nil:
		gate.Do = "nothing: without spec.rotation keys are followed, not made"
	case state.Phase == rotation.Stable:
		gate.Do = "nothing: the next rotation begins when the key that signs is older than " +
			object.Spec.Rotation.Every.Duration.String()
	}
	report.Gate = gate
	return report
}

func (r *objectReport) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "issuer\t%s, rotated by the controller\n", r.Issuer)
	fmt.Fprintf(table, "phase\t%s\n", phaseWords(r.State))
	if r.State.Emergency {
		fmt.Fprintf(table, "emergency\t%s has leaked\n", strings.Join(r.State.Leaked, ", "))
	}
	if r.State.NewKID != "" {
		fmt.Fprintf(table, "keys\tfrom %s to %s\n", r.State.OldKID, r.State.NewKID)
	}
	for _, key := range r.Keys {
		fmt.Fprintf(table, "published\t%s, %s, %s, known since %s\n", key.KID, key.Algorithm, key.Role,
			key.FirstSeen.UTC().Format(time.RFC3339))
	}
	if r.Gate.Evidence != "" {
		fmt.Fprintf(table, "last step\t%s\n", r.Gate.Evidence)
	}
	fmt.Fprintf(table, "to do\t%s\n", r.Gate.Do)
	if !r.Gate.NotBefore.IsZero() {
		fmt.Fprintf(table, "next step\t%s, safe from %s\n", r.Gate.Next, r.Gate.NotBefore.UTC().Format(time.RFC3339))
	} else {
		for _, reason := range r.Gate.Waiting {
			fmt.Fprintf(table, "next step\t%s, not yet: %s\n", r.Gate.Next, reason)
		}
	}
	for _, condition := range r.Conditions {
		fmt.Fprintf(table, "%s\t%s %s\n", condition.Type, condition.Status, condition.Message)
	}
	return table.Flush()
}
