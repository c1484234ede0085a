package manifest

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// madePod is where an object of a kind that is not known says what pods it makes.
type madePod struct {
	yamledit.Node
	// account is the one that it names, or that what it is in names; empty if none does.
	account string
	// certain: there are containers. Else an account is named, and that is all.
	certain bool
}

// unknown warns of an object that makes pods and is of a kind that is not known: what it
// makes is injected in a cluster only.
func (in *injector) unknown(o object) {
	if group, _, _ := strings.Cut(o.Get("apiVersion").Scalar(), "/"); group == v1alpha1.GroupVersion.Group {
		return // ours make none
	}
	called := o.name()
	if called == "" {
		called = o.Get("metadata", "generateName").Scalar()
	}
	var said []string // accounts
	for _, pod := range podsOf(o.Node, "") {
		name := pod.account
		if name == "" {
			name = "default"
		}
		used, found := in.accounts[o.namespace()+"/"+name]
		identity := in.associations.Of(o.namespace(), name) != nil ||
			found && inject.ReadAccount(used.annotations, in.settings).Role != ""
		if !identity && (found || !pod.certain) || slices.Contains(said, name) {
			continue // nothing would change, or it was said
		}
		said = append(said, name)
		reason := "pods of this kind are not injected in files, only by the webhook"
		in.outcomes = append(in.outcomes, Outcome{
			Source: o.source, Line: pod.Line(), Kind: o.kind(), Namespace: o.namespace(), Name: called,
			Reason: reason, Warnings: []string{reason},
		})
	}
}

// podsOf finds what pods an object makes: templates of pods, what else has containers, and
// what names a service account, which belongs to what is in it too.
func podsOf(n yamledit.Node, account string) (found []madePod) {
	named := false
	for _, field := range []string{"serviceAccountName", "serviceAccount"} {
		if name := n.Get(field).Scalar(); name != "" && !named {
			account, named = name, true
		}
	}
	if hasContainers(n) {
		return []madePod{{n, account, true}}
	}
	for name, member := range n.Members() {
		switch {
		case slices.Contains(patterns, name):
		case !member.IsMap():
			for _, item := range member.Items() {
				found = append(found, podsOf(item, account)...)
			}
		case strings.HasSuffix(strings.ToLower(name), "template") && member.Get("spec", "containers").IsList():
			pod := madePod{member, account, true}
			if own := member.Get("spec", "serviceAccountName").Scalar() + member.Get("spec", "serviceAccount").Scalar(); own != "" {
				pod.account = accountName(member)
			}
			found = append(found, pod)
		default:
			found = append(found, podsOf(member, account)...)
		}
	}
	if named && len(found) == 0 {
		return []madePod{{n, account, false}}
	}
	return found
}

// patterns are members by which policies say what others' pods must be like.
var patterns = []string{"pattern", "anyPattern", "patchStrategicMerge"}

// hasContainers reports whether pods are made of something: a list of containers, a
// container, or a script that runs in one.
func hasContainers(n yamledit.Node) bool {
	isContainer := func(n yamledit.Node) bool { return n.Get("image").Scalar() != "" }
	return slices.ContainsFunc(n.Get("containers").Items(), isContainer) ||
		isContainer(n.Get("container")) || isContainer(n.Get("script"))
}
