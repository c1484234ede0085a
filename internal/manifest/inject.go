package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/inject"
)

// Outcome is what happened to one workload.
type Outcome struct {
	Source    string   `json:"source"`
	Line      int      `json:"line"`
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Injected  bool     `json:"injected"`
	Reason    string   `json:"reason"`
	Warnings  []string `json:"warnings,omitempty"`
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
	all, err := splitAll(sources)
	if err != nil {
		return nil, nil, err
	}
	in := injector{settings: settings}
	if in.accounts, err = accounts(all); err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	for i, documents := range all {
		in.separate(&out, sources[i].Text)
		for j := range documents {
			text, err := in.document(&documents[j])
			if err != nil {
				return nil, nil, err
			}
			if i > 0 && j == 0 {
				text = bytes.TrimPrefix(text, byteOrder) // it may only start the output
			}
			out.Write(text)
		}
	}
	return out.Bytes(), in.outcomes, nil
}

// injector is one run over all sources.
type injector struct {
	settings inject.Settings
	accounts map[string]account
	outcomes []Outcome
}

// separate keeps the next source's first document from the last one written.
func (in *injector) separate(out *bytes.Buffer, next []byte) {
	if out.Len() == 0 || len(next) == 0 {
		return
	}
	if !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
		out.WriteByte('\n')
	}
	first, _, _ := bytes.Cut(bytes.TrimPrefix(next, byteOrder), []byte("\n"))
	if !separator.Match(first) {
		out.WriteString("---\n")
	}
}

// document returns the document's new text.
func (in *injector) document(d *document) ([]byte, error) {
	var changes []change
	for _, o := range d.objects() {
		path, isWorkload := templates[o.text("kind")]
		if !isWorkload || !o.builtIn("", "apps", "batch", "extensions") {
			continue
		}
		more, err := in.workload(d, o, path)
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	if len(changes) == 0 {
		return d.text, nil
	}
	return d.change(changes)
}

// workload says what must change in a workload.
func (in *injector) workload(d *document, o object, path []string) ([]change, error) {
	outcome := Outcome{
		Source: d.source, Line: d.line + o.node.Line - 1, Kind: o.text("kind"), Namespace: o.namespace(), Name: o.text("metadata", "name"),
	}
	if outcome.Name == "" {
		outcome.Name = o.text("metadata", "generateName")
	}
	pod := object{o.find(path...), slices.Concat(o.path, path)}
	if spec := member(pod.node, "spec"); spec == nil || spec.Kind != yaml.MappingNode {
		return nil, d.errorAt(o.node, "%s %q has no pod: want %s", outcome.Kind, outcome.Name, strings.Join(append(path, "spec"), "."))
	}
	changes, err := in.pod(d, pod, &outcome)
	in.outcomes = append(in.outcomes, outcome)
	return changes, err
}

func (in *injector) pod(d *document, pod object, outcome *Outcome) ([]change, error) {
	name := outcome.Namespace + "/" + accountName(pod)
	used, found := in.accounts[name]
	if !found {
		outcome.Reason = fmt.Sprintf("service account %s is not in these manifests", name)
		outcome.Warnings = []string{outcome.Reason}
		return nil, nil
	}
	role := inject.ReadAccount(used.annotations, in.settings)
	var podJSON []byte
	if role.Role != "" { // else nothing can change, and kubectl is the judge of it
		var err error
		if podJSON, err = d.podJSON(pod); err != nil {
			return nil, err
		}
	}
	result, err := inject.Pod(podJSON, role, in.settings)
	if err != nil {
		return nil, d.errorAt(pod.node, "%s", err)
	}
	outcome.Injected, outcome.Reason, outcome.Warnings = len(result.Patch) > 0, result.Reason, result.Warnings
	if used.replaced != "" {
		outcome.Warnings = append(outcome.Warnings,
			fmt.Sprintf("service account %s is at %s and at %s, with other annotations; the last one holds", name, used.replaced, used.place))
	}
	return changesOf(pod, result.Patch)
}

// podJSON returns a pod as the API server will get it.
func (d *document) podJSON(pod object) ([]byte, error) {
	if err := d.checkKeys(pod.node); err != nil {
		return nil, err
	}
	for _, name := range []string{"annotations", "labels"} {
		if _, err := d.texts(pod, "metadata", name); err != nil {
			return nil, err
		}
	}
	text, err := toJSON(pod.node)
	if err != nil {
		return nil, d.errorAt(pod.node, "the pod cannot be written as JSON: %s", err)
	}
	return text, nil
}

// accountName is what the API server makes of the pod before webhooks see it:
// it copies the old field to the new one if that is empty, and fills in
// "default".
func accountName(pod object) string {
	for _, field := range []string{"serviceAccountName", "serviceAccount"} {
		if name := pod.text("spec", field); name != "" {
			return name
		}
	}
	return "default"
}
