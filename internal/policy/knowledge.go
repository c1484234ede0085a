package policy

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:embed actions.txt
var actionsText string

// service is what is known of a service: all its actions, by folded name.
type service struct {
	name    string
	actions map[string]*knownAction
	names   []string // as AWS writes them
}

// knownAction is an action and the kinds of resources that it is about; none if only "*"
// stands for what it is about.
type knownAction struct {
	service, name string
	kinds         []*resourceKind
}

// resourceKind is what the ARNs of a kind of resource look like.
type resourceKind struct {
	name string
	form string  // without partition: SERVICE:REGION:ACCOUNT:RESOURCE
	ops  [4][]op // of its parts
}

// knownServices are those of which all actions are known.
var knownServices = sync.OnceValue(func() map[string]*service {
	all := map[string]*service{}
	var now *service
	var kinds map[string]*resourceKind
	for line := range strings.Lines(actionsText) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "service":
			now, kinds = &service{name: fields[1], actions: map[string]*knownAction{}}, map[string]*resourceKind{}
			all[now.name] = now
		case "kind":
			kinds[fields[1]] = newResourceKind(fields[1], fields[2])
		case "on":
			var about []*resourceKind
			for name := range strings.SplitSeq(fields[1], ",") {
				if name != "-" {
					about = append(about, kinds[name])
				}
			}
			for _, name := range fields[2:] {
				now.actions[lowerText(name)] = &knownAction{now.name, name, about}
				now.names = append(now.names, name)
			}
		}
	}
	for _, one := range all {
		slices.Sort(one.names)
	}
	return all
})

// newResourceKind compiles a form: + stands for some text, ~ for some without slash and
// colon, ? for one such character, * for any text.
func newResourceKind(name, form string) *resourceKind {
	k := &resourceKind{name: name, form: form}
	for i, part := range strings.SplitN(form, ":", 4) {
		for _, char := range []byte(part) {
			switch char {
			case '+':
				k.ops[i] = append(k.ops[i], anyOne, anyRun)
			case '~':
				k.ops[i] = append(k.ops[i], nameOne, nameRun)
			case '?':
				k.ops[i] = append(k.ops[i], nameOne)
			case '*':
				k.ops[i] = append(k.ops[i], anyRun)
			default:
				k.ops[i] = append(k.ops[i], op(char))
			}
		}
	}
	return k
}

// example is the form as an ARN that a person can fill in.
func (k *resourceKind) example() string {
	parts := strings.SplitN(k.form, ":", 4)
	for i, word := range []string{"", "REGION", "ACCOUNT", "NAME"} {
		parts[i] = strings.NewReplacer("?*", word, "+", word, "~", word, "*", word).Replace(parts[i])
	}
	return "arn:aws:" + strings.Join(parts, ":")
}

// matching are the service's actions that a pattern matches, in the order of their names.
func (s *service) matching(p *actionPattern) []*knownAction {
	if p.name.literal {
		if one := s.actions[p.name.source]; one != nil {
			return []*knownAction{one}
		}
		return nil
	}
	var found []*knownAction
	for _, name := range s.names {
		if matchOps(p.name.ops, name, true) {
			found = append(found, s.actions[lowerText(name)])
		}
	}
	return found
}

// openOps are the pattern's, with * for each variable.
func (p *resourcePattern) openOps() []op {
	if p.whole.segments == nil {
		return p.whole.ops
	}
	var ops []op
	for _, part := range p.whole.segments {
		if part.key != "" {
			ops = append(ops, anyRun)
		}
		ops = append(ops, part.ops...)
	}
	return ops
}

// loose are the parts of a pattern with any text for its variables; nil if there are not
// six.
func (p *resourcePattern) loose() [][]op {
	parts := p.parts
	if p.whole.segments != nil {
		parts = splitOps(p.openOps())
	}
	if len(parts) != 6 {
		return nil
	}
	return parts
}

// mayBe reports whether a pattern matches the ARN of some resource of a kind. Where that
// is not known, it says yes.
func (p *resourcePattern) mayBe(kind *resourceKind) bool {
	parts := p.loose()
	if p.all || parts == nil {
		return true
	}
	if !formMeets(parts[0], []op{'a', 'r', 'n'}, false) {
		return false
	}
	for i, form := range kind.ops {
		if !formMeets(parts[i+2], form, i < 2) {
			return false
		}
	}
	return true
}

// formMeets reports whether some text matches a pattern of a policy and a form, whose ops
// may be of the narrower kinds that only shapes have.
func formMeets(pattern, form []op, folded bool) bool {
	one := spelling{folded: folded}
	meet := func(a, b op) bool {
		switch {
		case a >= anyRun:
			return true
		case b >= anyRun:
			return one.takes(b, byte(a))
		}
		return a == b || (folded && equalFoldedOp(a, byte(b)))
	}
	row := make([]bool, len(form)+1) // whether a text gets to this step of both
	row[0] = true
	for i := range len(pattern) + 1 {
		next := make([]bool, len(form)+1)
		for j := range len(form) + 1 {
			if !row[j] {
				continue
			}
			runs, formRuns := i < len(pattern) && isRun(pattern[i]), j < len(form) && isRun(form[j])
			if runs {
				next[j] = true
			}
			if formRuns {
				row[j+1] = true
			}
			if i == len(pattern) || j == len(form) || !meet(pattern[i], form[j]) {
				continue
			}
			switch {
			case runs && !formRuns:
				row[j+1] = true
			case formRuns && !runs:
				next[j] = true
			case !runs:
				next[j+1] = true
			}
		}
		if i == len(pattern) {
			break
		}
		row = next
	}
	return row[len(form)]
}
