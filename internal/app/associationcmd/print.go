package associationcmd

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/association"
)

// idOf is an object's id: by its UID in a cluster, as AWS said otherwise.
func idOf(a *v1alpha1.PodIdentityAssociation) string {
	if a.UID == "" {
		return a.Status.AssociationID
	}
	return association.ID(a)
}

// nameOf is what kubectl takes for an object of a cluster; the EKS API has ids only.
func nameOf(a *v1alpha1.PodIdentityAssociation) string {
	if a.UID == "" {
		return idOf(a)
	}
	return "podidentityassociation." + v1alpha1.GroupVersion.Group + "/" + a.Name
}

func count(associations int) string {
	switch associations {
	case 0:
		return "none"
	case 1:
		return "1 association"
	}
	return fmt.Sprintf("%d associations", associations)
}

func byName(a, b v1alpha1.PodIdentityAssociation) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// printed is an object for people and programs.
func printed(a *v1alpha1.PodIdentityAssociation) *v1alpha1.PodIdentityAssociation {
	shown := a.DeepCopy()
	shown.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PodIdentityAssociation"}
	shown.ManagedFields = nil
	shown.Status.AssociationID = idOf(a)
	return shown
}

// printChanged says in a line what has been done, or prints the object.
func printChanged(sys cli.System, output, done string, a *v1alpha1.PodIdentityAssociation) error {
	if output == "json" || output == "yaml" {
		return printAssociation(sys, output, a)
	}
	_, err := fmt.Fprintf(sys.Stdout, "association %s of %s/%s %s: %s\n",
		idOf(a), a.Namespace, a.Spec.ServiceAccountName, done, strings.Join(rolesOf(a), ", then "))
	return err
}

func rolesOf(a *v1alpha1.PodIdentityAssociation) []string {
	if a.Spec.TargetRoleARN == "" {
		return []string{a.Spec.RoleARN}
	}
	return []string{a.Spec.RoleARN, a.Spec.TargetRoleARN}
}

func printAssociation(sys cli.System, output string, a *v1alpha1.PodIdentityAssociation) error {
	switch output {
	case "json":
		return cli.PrintJSON(sys.Stdout, printed(a))
	case "yaml":
		return printYAML(sys.Stdout, printed(a))
	}
	return printAssociations(sys, output, []v1alpha1.PodIdentityAssociation{*a})
}

func printAssociations(sys cli.System, output string, all []v1alpha1.PodIdentityAssociation) error {
	if output == "json" || output == "yaml" {
		list := v1alpha1.PodIdentityAssociationList{
			TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PodIdentityAssociationList"},
			Items:    []v1alpha1.PodIdentityAssociation{},
		}
		for i := range all {
			list.Items = append(list.Items, *printed(&all[i]))
		}
		if output == "yaml" {
			return printYAML(sys.Stdout, &list)
		}
		return cli.PrintJSON(sys.Stdout, &list)
	}
	if output == "name" {
		for i := range all {
			fmt.Fprintln(sys.Stdout, nameOf(&all[i]))
		}
		return nil
	}
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	header := []string{"NAMESPACE", "SERVICE-ACCOUNT", "ROLE", "ID", "READY"}
	if output == "wide" {
		header = append(header, "TARGET", "SESSION-TAGS", "LAST-USED", "AGE")
	}
	fmt.Fprintln(table, strings.Join(header, "\t"))
	for i := range all {
		fmt.Fprintln(table, strings.Join(row(sys, &all[i], output == "wide"), "\t"))
	}
	return table.Flush()
}

func row(sys cli.System, a *v1alpha1.PodIdentityAssociation, wide bool) []string {
	ready := "-"
	if condition := meta.FindStatusCondition(a.Status.Conditions, "Ready"); condition != nil {
		if ready = string(condition.Status); condition.Status != metav1.ConditionTrue {
			ready += " (" + condition.Reason + ")"
		}
	}
	columns := []string{a.Namespace, a.Spec.ServiceAccountName, a.Spec.RoleARN, idOf(a), ready}
	if !wide {
		return columns
	}
	tags := map[v1alpha1.SessionTagging]string{
		v1alpha1.TransitiveTags: "on", v1alpha1.LocalTags: "local", v1alpha1.NoTags: "off",
	}[association.TaggingOf(&a.Spec)]
	return append(columns, cmp.Or(a.Spec.TargetRoleARN, "-"), tags,
		ago(sys.Now(), a.Status.LastUsedTime), ago(sys.Now(), &a.CreationTimestamp))
}

func ago(now time.Time, at *metav1.Time) string {
	if at.IsZero() {
		return "-"
	}
	return duration.HumanDuration(now.Sub(at.Time))
}

func printYAML(w io.Writer, value any) error {
	text, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// describeAssociation prints what is set, and each condition with its reason.
func describeAssociation(sys cli.System, a *v1alpha1.PodIdentityAssociation) error {
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(table, "%s:\t%s\n", name, text)
		}
	}
	spec, status := &a.Spec, &a.Status
	line("Service account", a.Namespace+"/"+spec.ServiceAccountName)
	line("ID", idOf(a))
	line("ARN", status.AssociationARN)
	line("Role", spec.RoleARN)
	line("Target role", spec.TargetRoleARN)
	line("External id", cmp.Or(status.ExternalID, spec.ExternalID))
	line("Mode", string(spec.Mode))
	if spec.DurationSeconds != 0 {
		line("Duration", (time.Duration(spec.DurationSeconds) * time.Second).String())
	}
	switch line("Session tags", pairs(spec.SessionTags)); association.TaggingOf(spec) {
	case v1alpha1.NoTags:
		line("Session tags", "off")
	case v1alpha1.LocalTags:
		line("Session tags", "local, not for further roles")
	case v1alpha1.TransitiveTags:
	}
	line("Left out", strings.Join(spec.OmitTags, ", "))
	line("Session policy", strings.Join(strings.Fields(spec.SessionPolicy), " "))
	line("Session name", spec.SessionName)
	line("Source identity", spec.SourceIdentity)
	line("Tags", pairs(spec.Tags))
	if spec.Paused {
		line("Paused", "new sessions are refused")
	}
	line("Created", a.CreationTimestamp.UTC().Format(time.RFC3339))
	if modified := association.Modified(a); modified.After(a.CreationTimestamp.Time) {
		line("Modified", modified.UTC().Format(time.RFC3339))
	}
	line("Last used", ago(sys.Now(), status.LastUsedTime))
	if err := table.Flush(); err != nil {
		return err
	}
	return describeConditions(sys, a)
}

func pairs(tags map[string]string) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		texts = append(texts, key+"="+tags[key])
	}
	return strings.Join(texts, ", ")
}

func describeConditions(sys cli.System, a *v1alpha1.PodIdentityAssociation) error {
	if len(a.Status.Conditions) == 0 {
		return nil
	}
	fmt.Fprintln(sys.Stdout, "Conditions:")
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	for _, condition := range a.Status.Conditions {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", condition.Type, condition.Status, condition.Reason,
			strings.Join(strings.Fields(condition.Message), " "))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if a.Status.ObservedGeneration != a.Generation {
		fmt.Fprintln(sys.Stdout, "They are from before the last change.")
	}
	return nil
}
