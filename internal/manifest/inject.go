package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// Outcome is what happened to one workload.
type Outcome struct {
	Source    string `json:"source"`
	Line      int    `json:"line"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Injected  bool   `json:"injected"`
	// Identity says that its service account has one.
	Identity bool     `json:"-"`
	Reason   string   `json:"reason"`
	Warnings []string `json:"warnings,omitempty"`
}

// templates says where a kind of workload keeps its pod.
var templates = map[string][]string{
	"Pod":                   {},
	"Deployment":            {"spec", "template"},
	"StatefulSet":           {"spec", "template"},
	"DaemonSet":             {"spec", "template"},
	"ReplicaSet":            {"spec", "template"},
	"ReplicationController": {"spec", "template"},
	"Job":                   {"spec", "template"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template"},
	"PodTemplate":           {"template"},
}

// Inject injects every workload of the sources whose service account, in the
// same sources, has a role. It returns the sources' new texts, in order and
// with a separator between them; documents without a change are the bytes they
// were. If anything cannot be read, nothing is returned.
func Inject(sources []Source, settings inject.Settings) ([]byte, []Outcome, error) {
	all, err := openAll(sources)
	if err != nil {
		return nil, nil, err
	}
	in := injector{settings: settings}
	if in.accounts, err = accounts(sources, all); err != nil {
		return nil, nil, err
	}
	declared, err := Associations(sources)
	if err != nil {
		return nil, nil, err
	}
	known := make([]*v1alpha1.PodIdentityAssociation, 0, len(declared))
	for i := range declared {
		known = append(known, &declared[i].PodIdentityAssociation)
	}
	in.associations = association.NewSet(known)
	for i, documents := range all {
		for _, d := range documents {
			if err := in.document(sources[i].Name, d); err != nil {
				return nil, nil, err
			}
		}
	}
	return yamledit.Join(all...), in.outcomes, nil
}

// injector is one run over all sources.
type injector struct {
	settings     inject.Settings
	accounts     map[string]account
	associations *association.Set
	outcomes     []Outcome
}

// document injects the workloads of a document. One whose layout cannot be kept,
// because pods share parts by aliases, is rewritten.
func (in *injector) document(source string, d *yamledit.Document) error {
	var edits []yamledit.Edit
	for _, o := range objectsOf(source, d) {
		path, isWorkload := templates[o.kind()]
		if !isWorkload || !o.builtIn(groupsOfWorkloads...) {
			in.unknown(o)
			continue
		}
		more, err := in.workload(o, path)
		if err != nil {
			return err
		}
		edits = append(edits, more...)
	}
	err := d.Edit(edits...)
	if errors.Is(err, yamledit.ErrLayout) {
		err = d.Rewrite(edits...)
	}
	return err
}

// workload says what must change in a workload.
func (in *injector) workload(o object, path []string) ([]yamledit.Edit, error) {
	outcome := Outcome{
		Source:    o.source,
		Line:      o.Line(),
		Kind:      o.kind(),
		Namespace: o.namespace(),
		Name:      o.name(),
	}
	if outcome.Name == "" {
		outcome.Name = o.Get("metadata", "generateName").Scalar()
	}
	pod := o.Get(path...)
	if !pod.Get("spec").IsMap() {
		return nil, o.Errorf(
			"%s %q has no pod: want %s", outcome.Kind, outcome.Name, strings.Join(append(path, "spec"), "."),
		)
	}
	edits, err := in.pod(pod, &outcome)
	in.outcomes = append(in.outcomes, outcome)
	return edits, err
}

func (in *injector) pod(pod yamledit.Node, outcome *Outcome) ([]yamledit.Edit, error) {
	account := accountName(pod)
	name := outcome.Namespace + "/" + account
	used, found := in.accounts[name]
	associated := in.associations.Of(outcome.Namespace, account)
	if !found && associated == nil {
		outcome.Reason = fmt.Sprintf("service account %s is not in these manifests", name)
		outcome.Warnings = []string{outcome.Reason}
		if text, err := podJSON(pod); err == nil {
			outcome.Warnings = append(outcome.Warnings, inject.Unread(text, nil, in.settings)...)
		}
		return nil, nil
	}
	known := inject.Known{PodIdentity: associated != nil}
	if found {
		read := inject.ReadAccount(used.annotations, in.settings)
		known.Account = &read
	}
	role := inject.Choose(known, &in.settings)
	outcome.Identity = known.HasIdentity()
	text, err := podJSON(pod)
	switch {
	case err == nil:
	case outcome.Identity:
		return nil, err
	default: // nothing can change, and kubectl is the judge of it
		text = nil
	}
	if !outcome.Identity && known.Account != nil {
		role = *known.Account // for what it says beside the role
	}
	result, err := inject.Pod(text, role, in.settings)
	if err != nil {
		return nil, pod.Errorf("%s", err)
	}
	outcome.Injected, outcome.Reason, outcome.Warnings = len(result.Patch) > 0, result.Reason, result.Warnings
	if associated != nil && associated.Spec.Paused {
		outcome.Warnings = append([]string{association.Paused(associated)}, outcome.Warnings...)
	}
	if used.replaced != "" {
		outcome.Warnings = append(
			outcome.Warnings,
			fmt.Sprintf(
				"service account %s is at %s and at %s, with different annotations; the last one wins",
				name,
				used.replaced,
				used.place,
			),
		)
	}
	return editsOf(pod, result.Patch)
}

// podJSON returns a pod as the API server will get it.
func podJSON(pod yamledit.Node) ([]byte, error) {
	if err := pod.CheckKeys(); err != nil {
		return nil, err
	}
	for _, name := range []string{"annotations", "labels"} {
		if _, err := stringsOf(pod, "metadata", name); err != nil {
			return nil, err
		}
	}
	text, err := pod.JSON()
	if err != nil {
		return nil, pod.Errorf("the pod cannot be written as JSON: %s", err)
	}
	return text, nil
}

// accountName is what the API server makes of the pod before webhooks see it:
// it copies the old field to the new one if that is empty, and fills in
// "default".
func accountName(pod yamledit.Node) string {
	for _, field := range []string{"serviceAccountName", "serviceAccount"} {
		if name := pod.Get("spec", field).Scalar(); name != "" {
			return name
		}
	}
	return "default"
}

// editsOf turns a patch of a pod into edits. Of the containers, which the patch
// replaces as a whole, it takes what they have more of than before, so that nothing
// else of them is rewritten.
func editsOf(pod yamledit.Node, patch []inject.Operation) ([]yamledit.Edit, error) {
	var edits []yamledit.Edit
	for _, operation := range patch {
		path, err := yamledit.Pointer(operation.Path)
		if err != nil {
			return nil, err
		}
		path = pod.Path().To(path...)
		containers, replaces := operation.Value.([]json.RawMessage)
		if !replaces || len(containers) == 0 {
			if replaces && pod.Get("spec", "containers").Exists() {
				continue // a list of none, for a list of none
			}
			edits = append(edits, yamledit.Add(path, operation.Value))
			continue
		}
		before := pod.Get("spec", path[len(path)-1]).Items()
		for i, container := range containers {
			more, err := additions(before[i], container)
			if err != nil {
				return nil, err
			}
			edits = append(edits, more...)
		}
	}
	return edits, nil
}

// additions are what a container's lists have more of than before.
func additions(before yamledit.Node, container json.RawMessage) ([]yamledit.Edit, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(container, &members); err != nil {
		return nil, fmt.Errorf("read the patch: %w", err)
	}
	var edits []yamledit.Edit
	for _, name := range []string{"env", "volumeMounts"} {
		var items []json.RawMessage
		if text := members[name]; text != nil {
			if err := json.Unmarshal(text, &items); err != nil {
				return nil, fmt.Errorf("read the patch: %w", err)
			}
		}
		path, old := before.Path().To(name), before.Get(name)
		switch {
		case old.IsList():
			for _, item := range items[len(old.Items()):] {
				edits = append(edits, yamledit.Add(path.To("-"), item))
			}
		case len(items) > 0:
			edits = append(edits, yamledit.Add(path, items))
		}
	}
	return edits, nil
}
