package grouprole

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// ConfigMap is kube-system/aws-auth.
type ConfigMap struct {
	MapRoles    string
	Annotations map[string]string
	// Alone says that it has no data but mapRoles.
	Alone bool
}

// MadeAnnotation is on a ConfigMap aws-auth that this command made.
const MadeAnnotation = "rolecall.io/made-by"

// ConfigMapName is what steps call it.
const ConfigMapName = "kube-system/aws-auth"

// entry is one of mapRoles.
type entry struct {
	RoleARN  string   `json:"rolearn"`
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

func (w *Wanted) entry() entry { return entry{w.RoleARN(), w.Username, w.Groups} }

// EntryAnnotation is the annotation that marks the entry of the role as ours, and its value.
func (w *Wanted) EntryAnnotation() (key, value string) {
	sum := sha256.Sum256([]byte(strings.ToLower(w.RoleARN())))
	text, _ := json.Marshal(w.entry()) // strings only
	return Annotation + hex.EncodeToString(sum[:8]), string(text)
}

// MappingName is the name of the role's IdentityMapping.
func (w *Wanted) MappingName() string {
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '-'
	}, strings.ToLower(w.Role))
	name = "group-role-" + strings.Trim(name, "-.")
	if name != "group-role-"+w.Role || strings.Contains(name, "..") || strings.Contains(name, ".-") ||
		strings.Contains(name, "-.") { // not a name of an object, or another role's as well
		sum := sha256.Sum256([]byte(w.Role))
		name = "group-role-" + hex.EncodeToString(sum[:8])
	}
	return name
}

// BindingName is the name of the role's ClusterRoleBinding.
func (w *Wanted) BindingName() string { return "rolecall:group-role:" + w.Role }

// mapRoles is the text of mapRoles, parsed.
type mapRoles struct {
	text     string
	document *yamledit.Document
	// ours are the places of the role's entries, and found what they say.
	places []int
	found  []entry
	count  int
}

func (w *Wanted) readMapRoles(text string) (*mapRoles, error) {
	documents, err := yamledit.Open("mapRoles of ConfigMap "+ConfigMapName, []byte(text))
	if err != nil {
		return nil, err
	}
	broken := func(what string) error {
		return fault.New(fault.Invalid, "mapRoles of ConfigMap %s is %s, want a list of entries", ConfigMapName, what).
			Hint("kubectl -n kube-system edit configmap aws-auth")
	}
	m := mapRoles{text: text}
	for _, d := range documents {
		if !d.Root().Exists() {
			continue
		}
		if d.Root().IsNull() { // which says nothing, but for its comments
			m.text = comments(text)
			continue
		}
		if m.document != nil {
			return nil, broken("several documents")
		}
		m.document = d
	}
	if m.document == nil {
		return &m, nil
	}
	if !m.document.Root().IsList() {
		return nil, broken("not a list")
	}
	for i, item := range m.document.Root().Items() {
		m.count++
		text, err := item.JSON()
		if err != nil {
			return nil, err
		}
		var one entry
		if json.Unmarshal(text, &one) != nil {
			continue // it is not ours
		}
		if strings.EqualFold(one.RoleARN, w.RoleARN()) {
			m.places, m.found = append(m.places, i), append(m.found, one)
		}
	}
	return &m, nil
}

// comments are the lines of a text that are nothing else.
func comments(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// with is the text with the entry in a place, or at the end.
func (m *mapRoles) with(e entry, place int) (string, error) {
	if m.document == nil { // comments at most
		var text strings.Builder
		if m.text != "" {
			text.WriteString(strings.TrimRight(m.text, "\n") + "\n")
		}
		fmt.Fprintf(&text, "- rolearn: %s\n  username: %s\n  groups:\n", quoted(e.RoleARN), quoted(e.Username))
		for _, group := range e.Groups {
			fmt.Fprintf(&text, "  - %s\n", quoted(group))
		}
		return text.String(), nil
	}
	edit := yamledit.Add(yamledit.Path{"-"}, e)
	if place >= 0 {
		edit = yamledit.Replace(yamledit.Path{strconv.Itoa(place)}, e)
	}
	return edited(m.document, edit)
}

func edited(document *yamledit.Document, edit yamledit.Edit) (string, error) {
	if err := document.Edit(edit); err != nil {
		return "", err
	}
	return string(document.Text()), nil
}

// quoted is a scalar that every reader takes for this text.
func quoted(text string) string {
	out, _ := json.Marshal(text) // a string
	return string(out)
}

func (e *entry) equal(other entry) bool {
	return strings.EqualFold(e.RoleARN, other.RoleARN) && e.Username == other.Username &&
		slices.Equal(e.Groups, other.Groups)
}

// marked is the entry that the ConfigMap's mark says we made.
func (w *Wanted) marked(c *ConfigMap) (is entry, found bool) {
	key, _ := w.EntryAnnotation()
	err := json.Unmarshal([]byte(c.Annotations[key]), &is)
	return is, err == nil && is.RoleARN != ""
}

// awsAuth plans the entry of the role.
func (p *plan) awsAuth(c *ConfigMap) {
	w, want := p.w, p.w.entry()
	if c == nil {
		text, _ := (&mapRoles{}).with(want, -1) // nothing is edited
		p.add(Step{Verb: Create, Kind: KindConfigMap, Name: ConfigMapName, After: text, Mark: true})
		return
	}
	roles, err := w.readMapRoles(c.MapRoles)
	if err != nil {
		p.failed = err
		return
	}
	key, value := w.EntryAnnotation()
	marked, isMarked := w.marked(c)
	place, foreign := -1, len(roles.found) > 1
	if len(roles.found) > 0 {
		place = roles.places[0]
		one := roles.found[0]
		if !foreign && one.equal(want) {
			if !isMarked {
				p.notes = append(p.notes, "ConfigMap "+ConfigMapName+" has the role as it is wanted, and not by this command: "+
					"its entry stays, also when this is undone")
			} else if c.Annotations[key] != value {
				p.add(Step{Verb: Update, Kind: KindConfigMap, Name: ConfigMapName, Before: c.MapRoles, After: c.MapRoles, Mark: true})
			}
			return
		}
		foreign = foreign || !isMarked || !one.equal(marked)
	}
	after, err := roles.with(want, place)
	if err != nil {
		p.failed = err
		return
	}
	step := Step{Verb: Update, Kind: KindConfigMap, Name: ConfigMapName, Before: c.MapRoles, After: after, Mark: true}
	if foreign {
		p.refused = append(p.refused, step)
		return
	}
	p.add(step)
}

// dropEntry plans that the entry goes which this command has made, if it is as it was made.
func (p *plan) dropEntry(c *ConfigMap) error {
	if c == nil {
		return nil
	}
	marked, isMarked := p.w.marked(c)
	if !isMarked {
		return nil
	}
	roles, err := p.w.readMapRoles(c.MapRoles)
	if err != nil {
		return err
	}
	after := c.MapRoles
	switch {
	case len(roles.found) == 0: // somebody was faster; the mark goes
	case len(roles.found) == 1 && roles.found[0].equal(marked):
		if after, err = edited(roles.document, yamledit.Remove(yamledit.Path{strconv.Itoa(roles.places[0])})); err != nil {
			return err
		}
		roles.count--
	default:
		return fault.New(fault.Conflict, "the entry of %s in ConfigMap %s was changed since this command made it",
			p.w.RoleARN(), ConfigMapName).Hint("kubectl -n kube-system edit configmap aws-auth, and take it out")
	}
	if roles.count == 0 && c.Alone && c.Annotations[MadeAnnotation] == LabelValue {
		p.add(Step{Verb: Delete, Kind: KindConfigMap, Name: ConfigMapName, Before: c.MapRoles})
		return nil
	}
	p.add(Step{Verb: Update, Kind: KindConfigMap, Name: ConfigMapName, Before: c.MapRoles, After: after})
	return nil
}

// mapping plans the IdentityMapping; roleID is empty while there is no role.
func (p *plan) mapping(is *Mapping, roleID string) {
	w := p.w
	after := w.mappingText(roleID)
	if is == nil {
		p.object(KindMapping, w.MappingName(), false, false, false, "", after)
		return
	}
	same := is.ARN == w.RoleARN() && is.Username == w.Username && slices.Equal(is.Groups, w.Groups)
	if is.Ours { // somebody else's may pin or not
		same = same && is.UserID == roleID && roleID != ""
	}
	before := textOf(is.ARN, is.UserID, is.Username, is.Groups)
	p.object(KindMapping, w.MappingName(), true, is.Ours, same, before, after)
}

func (w *Wanted) mappingText(roleID string) string {
	if roleID == "" {
		roleID = "(the new role's)"
	}
	return textOf(w.RoleARN(), roleID, w.Username, w.Groups)
}

func textOf(arn, id, username string, groups []string) string {
	text := "principal: {arn: " + arn + "}\n"
	if id != "" {
		text += "userID: " + id + "\n"
	}
	return text + "username: " + quoted(username) + "\ngroups: [" + strings.Join(groups, ", ") + "]\n"
}

func (p *plan) dropMapping(is *Mapping) {
	switch {
	case is == nil:
	case !is.Ours:
		p.notes = append(p.notes, "IdentityMapping "+p.w.MappingName()+" was not made by this command: it stays")
	default:
		before := textOf(is.ARN, is.UserID, is.Username, is.Groups)
		p.add(Step{Verb: Delete, Kind: KindMapping, Name: p.w.MappingName(), Before: before})
	}
}

// binding plans the ClusterRoleBinding, or that there is none.
func (p *plan) binding(is *Binding) {
	w := p.w
	if w.ClusterRole == "" {
		p.dropBinding(is)
		return
	}
	after := bindingText(w.ClusterRole, w.Groups, 0)
	if is == nil {
		p.object(KindBinding, w.BindingName(), false, false, false, "", after)
		return
	}
	before := bindingText(is.ClusterRole, is.Groups, is.Others)
	p.object(KindBinding, w.BindingName(), true, is.Ours, before == after, before, after)
}

func bindingText(role string, groups []string, others int) string {
	var text strings.Builder
	text.WriteString("roleRef: ClusterRole " + role + "\nsubjects:\n")
	for _, group := range groups {
		text.WriteString("- Group " + group + "\n")
	}
	if others > 0 {
		fmt.Fprintf(&text, "- and %d that are no groups\n", others)
	}
	return text.String()
}

func (p *plan) dropBinding(is *Binding) {
	switch {
	case is == nil:
	case !is.Ours:
		p.notes = append(p.notes, "ClusterRoleBinding "+p.w.BindingName()+" was not made by this command: it stays")
	default:
		before := bindingText(is.ClusterRole, is.Groups, is.Others)
		p.add(Step{Verb: Delete, Kind: KindBinding, Name: p.w.BindingName(), Before: before})
	}
}
