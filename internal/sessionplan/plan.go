package sessionplan

import (
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// The six tags of every session (spec podidentity §14.1), in AWS's order.
const (
	tagClusterARN     = "eks-cluster-arn"
	tagClusterName    = "eks-cluster-name"
	tagNamespace      = "kubernetes-namespace"
	tagServiceAccount = "kubernetes-service-account"
	tagPodName        = "kubernetes-pod-name"
	tagPodUID         = "kubernetes-pod-uid"
)

// reserved reports whether a tag is one of the six.
func reserved(key string) bool {
	switch key {
	case tagClusterARN, tagClusterName, tagNamespace, tagServiceAccount, tagPodName, tagPodUID:
		return true
	}
	return false
}

// STS's limits (spec podidentity §14.1, §14.5).
const (
	maxTags = arn.MaxSessionTags
	minName = arn.MinSessionName
)

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// Shrink leaves out what may be left out next when STS finds tags and policy too
// large; false if there is nothing.
func (p *Plan) Shrink() bool {
	for len(p.drop) > 0 {
		key := p.drop[0]
		p.drop = p.drop[1:]
		before := len(p.Role.Tags)
		p.Role.Tags = slices.DeleteFunc(slices.Clone(p.Role.Tags), func(tag Tag) bool {
			return tag.Key == key || key == "" && !reserved(tag.Key)
		})
		if len(p.Role.Tags) < before {
			if p.Target != nil && p.Target.Local {
				p.Target.Tags = p.Role.Tags
			}
			return true
		}
	}
	return false
}

// tags are the six and the association's own.
func (p *Plane) tags(own map[string]string, omit []string, s *Subject, values variables) ([]Tag, error) {
	all := []Tag{
		{Key: tagClusterARN, Text: Text{Value: p.Cluster.ARN()}},
		{Key: tagClusterName, Text: Text{Value: p.Cluster.Name}},
		{Key: tagNamespace, Text: Text{Value: s.Namespace}},
		{Key: tagServiceAccount, Text: Text{Value: s.ServiceAccount}},
	}
	if s.bound() {
		all = append(
			all, Tag{Key: tagPodName, Text: values["podName"].text()},
			Tag{Key: tagPodUID, Text: values["podUid"].text()},
		)
	}
	all = slices.DeleteFunc(all, func(tag Tag) bool { return slices.Contains(omit, tag.Key) })
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(own)) {
		// One of the six must never be what an association says, also where it is left
		// out, nor what looks like it to somebody.
		look := association.LookOfKey(key)
		switch {
		case reserved(look) || seen[look]:
			return nil, invalid("the association sets the session tag %q, which is reserved or set twice", key)
		case association.IsReservedKey(key) || !arn.IsTagKey(key):
			return nil, invalid("the association sets the session tag %q, which STS does not accept", key)
		}
		seen[look] = true
		value, err := expand("sessionTags", own[key], values)
		switch {
		case err != nil:
			return nil, err
		case value.missing: // about a pod or a label, and there is none
			continue
		case !value.Open && !arn.IsTagValue(value.Value):
			return nil, invalid("the session tag %q has a value that STS does not accept", key)
		}
		all = append(all, Tag{Key: key, Text: value.Text, Optional: value.optional})
	}
	if len(all) > maxTags {
		return nil, invalid("the session would have %d tags; STS accepts %d", len(all), maxTags)
	}
	return all, nil
}

const podLabel = "podLabel:"

// variables are what templates may use.
type variables map[string]variable

// variable is what a variable stands for: a value; what is not known before there is
// a pod, or the moment; or nothing, without a pod or for a label that the pod does
// not have.
type variable struct {
	value         string
	open, missing bool
	name          string
}

func (v variable) text() Text {
	if v.open {
		return Text{"${" + v.name + "}", true}
	}
	return Text{Value: v.value}
}

func (p *Plane) variables(s *Subject) variables {
	values := variables{"namespace": {value: s.Namespace}, "serviceAccount": {value: s.ServiceAccount}}
	missing := !s.bound()
	for name, value := range map[string]string{"podName": s.Pod, "podUid": s.PodUID, "node": s.Node} {
		values[name] = variable{value: value, open: s.anyPod, missing: missing, name: name}
	}
	for _, key := range p.PodLabels {
		value, has := s.Labels[key]
		values[podLabel+key] = variable{
			value:   value,
			open:    s.anyPod,
			missing: missing || !has && !s.anyPod,
			name:    podLabel + key,
		}
	}
	if s.anyPod && p.PodLabels == nil {
		values[podLabel] = variable{open: true} // any label
	}
	return values
}

// find returns a variable by its name.
func (v variables) find(name string) (variable, bool) {
	if found, known := v[name]; known && name != podLabel {
		return found, true
	}
	if _, all := v[podLabel]; all && strings.HasPrefix(name, podLabel) && name != podLabel {
		return variable{open: true, name: name}, true
	}
	return variable{}, false
}

var variableForm = lazyregexp.New(`\$\{[^}]*\}?`)

// expansion is a template that was filled in.
type expansion struct {
	Text
	// missing: it needs what there is not. optional: pods may lack it.
	missing, optional bool
}

// expand fills a template in. What is not a variable is an error: a session must not
// carry the text of a mistake.
func expand(field, template string, values variables) (filled expansion, err error) {
	filled.Value = variableForm.ReplaceAllStringFunc(template, func(found string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(found, "${"), "}")
		value, known := values.find(name)
		switch {
		case known && value.missing:
			filled.missing = true
		case known && strings.HasSuffix(found, "}"):
			filled.Open = filled.Open || value.open
			filled.optional = filled.optional || value.open && strings.HasPrefix(name, podLabel)
			return value.text().Value
		case known:
			filled.missing = true
		case strings.HasPrefix(name, podLabel):
			err = invalid(
				"the association's %s: the pod's label %q is not among those of the broker's --pod-labels", field,
				strings.TrimPrefix(name, podLabel),
			)
		default:
			err = invalid("the association's %s has the unknown variable %s", field, found)
		}
		return ""
	})
	return filled, err
}

// name fills in a template of a session name or source identity.
func name(field, template string, values variables) (Text, error) {
	filled, err := expand(field, template, values)
	if err != nil || filled.Open {
		return filled.Text, err
	}
	text := arn.SessionName(filled.Value)
	if len(text) < minName {
		return Text{}, invalid(
			"the association's %s comes to %q; STS wants at least %d characters", field, text, minName,
		)
	}
	return Text{Value: text}, nil
}

// sessionName is EKS's own form, eks-CLUSTER-POD-UUID, unless there is a template
// (spec podidentity §14.3).
func sessionName(template, cluster string, s *Subject, values variables, unique string) (Text, error) {
	id := variable{value: unique, open: unique == "", name: "uuid"}
	if template != "" {
		values = maps.Clone(values)
		values["uuid"] = id
		return name("sessionName", template, values)
	}
	of, open := cut(s.Pod, 12), id.open || s.anyPod
	switch {
	case s.anyPod:
		of = "${podName}"
	case s.Pod == "":
		of = cut(s.ServiceAccount, 12)
	}
	text := "eks-" + cut(cluster, 10) + "-" + of + "-" + id.text().Value
	if !open {
		text = arn.SessionName(text)
	}
	return Text{text, open}, nil
}

func cut(text string, to int) string { return text[:min(len(text), to)] }

// externalID is the association's own, or EKS's form. One that has that form and
// names others of this cluster is refused: by it another account's role would take
// this one for them.
func (p *Plane) externalID(own string, s *Subject) (string, error) {
	usual := p.Cluster.ExternalID(s.Namespace, s.ServiceAccount)
	if own == "" {
		return usual, nil
	}
	mine := p.Cluster.ExternalID("", "")
	if strings.HasPrefix(own, strings.TrimSuffix(mine, "/")) && own != usual {
		return "", fault.New(
			fault.Denied, "the association's external id is that of another service account of this cluster",
		)
	}
	return own, nil
}
