package access

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/accesspolicy"
	"github.com/rolecall/rolecall/internal/access/objects"
)

// subject is an AccessEntry or an IdentityMapping, and what is to be said of it.
type subject struct {
	before, object client.Object
	entry          *v1alpha1.AccessEntry // nil of a mapping
	status         *v1alpha1.AccessStatus
	// mapping is what the authenticator makes of it; nil if that refuses it, for flaw, or
	// it is being deleted.
	mapping *access.Mapping
	flaw    *access.Problem
	// pinned is the id that the principal must have, if one is known.
	pinned string
	// winner is the object of the same principal that is asked before this one.
	winner *subject
	// replaced says that the principal has another id, absent that there is none, unsure
	// why neither is known.
	replaced, unsure string
	absent           bool
}

func newEntry(e *v1alpha1.AccessEntry) *subject {
	object := e.DeepCopy()
	s := &subject{before: e, object: object, entry: object, status: &object.Status, pinned: e.Status.UserID}
	return s.read(objects.AccessEntry(object))
}

func newMapping(m *v1alpha1.IdentityMapping) *subject {
	object := m.DeepCopy()
	s := &subject{before: m, object: object, status: &object.Status, pinned: m.Spec.UserID}
	return s.read(objects.IdentityMapping(object))
}

// read takes what the authenticator makes of the object.
func (s *subject) read(made objects.Result) *subject {
	problems := made.Problems
	if len(made.Mappings) > 0 {
		// Names that nobody can give are seen where mappings are put together.
		table := access.NewTable(made.Mappings[0].Source, made.Mappings[:1])
		if table.Len() > 0 {
			s.mapping = &made.Mappings[0]
			return s
		}
		problems = table.Problems()
	}
	for i := range problems {
		if problems[i].Refused {
			s.flaw = &problems[i]
		}
	}
	return s
}

// principal is what logins are compared with; empty of what is not valid.
func (s *subject) principal() string {
	if s.mapping == nil {
		return ""
	}
	return s.mapping.Match.String()
}

// statusOf is the status of one of our two kinds.
func statusOf(object client.Object) *v1alpha1.AccessStatus {
	switch object := object.(type) {
	case *v1alpha1.AccessEntry:
		return &object.Status
	case *v1alpha1.IdentityMapping:
		return &object.Status
	}
	return nil
}

func (s *subject) kind() string {
	if s.entry != nil {
		return "AccessEntry"
	}
	return "IdentityMapping"
}

func (s *subject) name() string { return s.kind() + " " + s.object.GetName() }

// going objects are being deleted, and ask for nothing any more.
func (s *subject) going() bool { return s.object.GetDeletionTimestamp() != nil }

// counts reports whether it gives anybody anything.
func (s *subject) counts() bool {
	return s.mapping != nil && s.winner == nil && s.replaced == ""
}

// judge finds out which objects count: of those of one principal an entry before a
// mapping, then the oldest; and of these whose principal still is who it was.
func (w *world) judge(known *asked) {
	ordered := slices.Clone(w.subjects)
	slices.SortStableFunc(ordered, func(a, b *subject) int {
		return cmp.Or(
			strings.Compare(a.kind(), b.kind()),
			a.object.GetCreationTimestamp().Compare(b.object.GetCreationTimestamp().Time),
			strings.Compare(a.object.GetName(), b.object.GetName()),
		)
	})
	first := map[string]*subject{}
	for _, s := range ordered {
		if s.mapping == nil {
			continue
		}
		key := strings.ToLower(s.principal())
		s.winner = first[key]
		if s.winner == nil && s.entry == nil {
			s.winner = permissionSetOf(first, key)
		}
		if s.winner == nil {
			first[key] = s
		}
	}
	for _, s := range w.subjects {
		s.identify(known)
	}
}

// permissionSetOf is the access entry of the permission set that a role is of, which is
// asked before a mapping of the role.
func permissionSetOf(first map[string]*subject, principal string) *subject {
	before, role, isRole := strings.Cut(principal, ":role/awsreservedsso_")
	last := strings.LastIndexByte(role, '_')
	if !isRole || last < 0 {
		return nil
	}
	match := access.Match{Account: before[strings.LastIndexByte(before, ':')+1:], PermissionSet: role[:last]}
	if s := first[match.String()]; s != nil && s.entry != nil {
		return s
	}
	return nil
}

// identify compares the principal with the id that it is known by. An entry whose id
// nobody knows yet gets that which IAM says; one whose principal was replaced stays so
// until somebody takes the old id out of its status, or the entry away.
func (s *subject) identify(known *asked) {
	if s.mapping == nil || s.mapping.Match.ARN == "" {
		return
	}
	said, there := known.of(s.principal())
	s.unsure, s.absent = said.problem, said.absent
	before := meta.FindStatusCondition(s.status.Conditions, conditionReady)
	if before == nil {
		before = &metav1.Condition{}
	}
	if !there { // not asked yet since the start: what was said before stands
		_, s.unsure, _ = strings.Cut(before.Message, notPinned)
		s.absent = before.Reason == reasonAbsent
	}
	switch {
	case said.id == "":
		if before.Reason == reasonReplaced && s.pinned != "" && !s.absent && strings.Contains(before.Message, s.pinned) {
			s.replaced = before.Message
		}
	case s.pinned == "" && s.entry != nil && s.winner == nil:
		s.pinned = said.id
	case s.pinned != "" && s.pinned != said.id:
		s.replaced = "the principal was deleted and made again: IAM has it as " + said.id + ", and this is about " +
			s.pinned
	}
}

// grants are what the entries that count ask for, of the policies that may be given.
func (w *world) grants() []accesspolicy.Grant {
	var grants []accesspolicy.Grant
	for _, s := range w.subjects {
		if s.entry == nil || !s.counts() || s.mapping.Policies == "" {
			continue
		}
		g := accesspolicy.Grant{Group: s.mapping.Policies}
		for _, p := range s.entry.Spec.AccessPolicies {
			if w.allowed[p.Policy] {
				g.Policies = append(g.Policies, p)
			}
		}
		grants = append(grants, g)
	}
	return grants
}

// standard entries alone have policies of their own choice.
func standard(e *v1alpha1.AccessEntry) bool {
	return e.Spec.Type == v1alpha1.StandardEntry || e.Spec.Type == ""
}
