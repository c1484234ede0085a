package access

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access/accesspolicy"
)

const devRole = "arn:aws:iam::111122223333:role/dev"

func entryOf(name string, age int, principal v1alpha1.Principal, change ...func(*v1alpha1.AccessEntry)) *subject {
	e := &v1alpha1.AccessEntry{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(1000-int64(age), 0), Generation: 1},
		Spec: v1alpha1.AccessEntrySpec{
			Principal: principal, KubernetesGroups: []string{"g"},
			AccessPolicies: []v1alpha1.AccessPolicy{{Policy: "AmazonEKSViewPolicy", Scope: v1alpha1.ClusterScope}},
		},
	}
	for _, f := range change {
		f(e)
	}
	return newEntry(e)
}

func mappingOf(name string, age int, principal v1alpha1.Principal, userID string) *subject {
	return newMapping(&v1alpha1.IdentityMapping{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(1000-int64(age), 0), Generation: 1},
		Spec:       v1alpha1.IdentityMappingSpec{Principal: principal, Username: "u", UserID: userID},
	})
}

func worldOf(subjects ...*subject) *world {
	return &world{
		subjects: subjects, namespaces: accesspolicy.NewNamespaces(nil),
		allowed: map[v1alpha1.AccessPolicyName]bool{"AmazonEKSViewPolicy": true}, flavor: accesspolicy.EKS,
	}
}

func arnOf(text string) v1alpha1.Principal { return v1alpha1.Principal{ARN: text} }

// TestWhoCounts: of the objects of one principal, however it is written, just one counts,
// and only its group is bound.
func TestWhoCounts(t *testing.T) {
	t.Parallel()
	going := func(e *v1alpha1.AccessEntry) {
		e.DeletionTimestamp, e.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"a"}
	}
	sso := v1alpha1.Principal{PermissionSet: "View", Account: "111122223333"}
	const ssoRole = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_View_0123456789abcdef"
	for _, row := range []struct {
		name     string
		subjects []*subject
		counts   string // names in order
		granted  int
	}{
		{"one", []*subject{entryOf("a", 0, arnOf(devRole))}, "a", 1},
		{"the older", []*subject{entryOf("a", 1, arnOf(devRole)), entryOf("b", 2, arnOf(devRole))}, "b", 1},
		{"of one age, by name", []*subject{entryOf("b", 1, arnOf(devRole)), entryOf("a", 1, arnOf(devRole))}, "a", 1},
		{"another path", []*subject{
			entryOf("a", 1, arnOf("arn:aws:iam::111122223333:role/x/y/dev")), entryOf("b", 2, arnOf(devRole)),
		}, "b", 1},
		{"another case", []*subject{
			entryOf("a", 1, arnOf("arn:aws:iam::111122223333:role/DEV")), entryOf("b", 2, arnOf(devRole)),
		}, "b", 1},
		{"another account", []*subject{
			entryOf("a", 1, arnOf("arn:aws:iam::444455556666:role/dev")), entryOf("b", 2, arnOf(devRole)),
		}, "a b", 2},
		{"a user and a role", []*subject{
			entryOf("a", 1, arnOf("arn:aws:iam::111122223333:user/dev")), entryOf("b", 2, arnOf(devRole)),
		}, "a b", 2},
		{"an older mapping", []*subject{
			entryOf("a", 1, arnOf(devRole)), mappingOf("m", 9, arnOf(devRole), ""), mappingOf("n", 10, arnOf(devRole), ""),
		}, "a", 1},
		{"one that goes", []*subject{entryOf("a", 1, arnOf(devRole)), entryOf("b", 2, arnOf(devRole), going)}, "a", 1},
		{"one that is not valid", []*subject{
			entryOf("a", 1, arnOf(devRole)), entryOf("b", 2, arnOf("arn:aws-mars:iam::111122223333:role/dev")),
		}, "a", 1},
		{"a permission set twice", []*subject{entryOf("a", 1, sso), entryOf("b", 2, sso)}, "b", 1},
		{"a mapping of a permission set's role", []*subject{
			entryOf("a", 1, sso), mappingOf("m", 2, arnOf(ssoRole), ""), mappingOf("n", 3, arnOf(devRole), ""),
		}, "a n", 1},
		{"a mapping of another set's role", []*subject{
			entryOf("a", 1, sso), mappingOf("m", 2, arnOf(strings.Replace(ssoRole, "View", "View_Only", 1)), ""),
		}, "a m", 1},
		{"a mapping of another account's role", []*subject{
			entryOf("a", 1, sso), mappingOf("m", 2, arnOf(strings.Replace(ssoRole, "111122223333", "444455556666", 1)), ""),
		}, "a m", 1},
		{"a node", []*subject{entryOf("a", 1, arnOf(devRole), func(e *v1alpha1.AccessEntry) {
			e.Spec.Type, e.Spec.KubernetesGroups = v1alpha1.EC2Linux, nil // with policies, which the kind refuses
		})}, "", 0},
	} {
		w := worldOf(row.subjects...)
		w.judge(&asked{})
		var counts []string
		for _, s := range w.subjects {
			if s.counts() {
				counts = append(counts, s.object.GetName())
			}
		}
		groups := map[string]bool{}
		for _, g := range w.grants() {
			groups[g.Group] = true
		}
		if strings.Join(counts, " ") != row.counts || len(groups) != row.granted {
			t.Errorf("%s: %q count, %d are granted, want %q, %d", row.name, counts, len(groups), row.counts, row.granted)
		}
	}
}

// TestReplaced: what becomes of an entry by what IAM says, was pinned, and was said before.
func TestReplaced(t *testing.T) {
	t.Parallel()
	const was, is = "AROAOLDOLDOLDOLDOLD00", "AROANEWNEWNEWNEWNEW00"
	replaced := metav1.Condition{
		Type: conditionReady, Status: metav1.ConditionFalse, Reason: reasonReplaced, ObservedGeneration: 1,
		Message: "the principal was deleted and made again: IAM has it as " + is + ", and this is about " + was,
	}
	absent := metav1.Condition{Type: conditionReady, Status: metav1.ConditionFalse, Reason: reasonAbsent, Message: "x"}
	for _, row := range []struct {
		name   string
		pinned string
		before []metav1.Condition
		said   *answer // nil is not asked yet
		reason string
		userID string
		counts bool
	}{
		{"new", "", nil, nil, "Ready", "", true},
		{"new, and IAM knows it", "", nil, &answer{id: was}, "Ready", was, true},
		{"new, and IAM has none", "", nil, &answer{absent: true}, reasonAbsent, "", true},
		{"new, and IAM cannot be asked", "", nil, &answer{problem: "no"}, "Ready", "", true},
		{"pinned, and the same", was, nil, &answer{id: was}, "Ready", was, true},
		{"pinned, and not asked yet", was, nil, nil, "Ready", was, true},
		{"pinned, and IAM cannot be asked", was, nil, &answer{problem: "no"}, "Ready", was, true},
		{"another", was, nil, &answer{id: is}, reasonReplaced, was, false},
		{"another, and said before", was, []metav1.Condition{replaced}, &answer{id: is}, reasonReplaced, was, false},
		{"said before, and not asked yet", was, []metav1.Condition{replaced}, nil, reasonReplaced, was, false},
		{"said before, and IAM cannot be asked", was, []metav1.Condition{replaced}, &answer{problem: "no"}, reasonReplaced, was, false},
		{"said before of another pin", is, []metav1.Condition{{
			Type: conditionReady, Reason: reasonReplaced, Message: "IAM has it as AROAX, and this is about " + was,
		}}, nil, "Ready", is, true},
		{"the old one is back", was, []metav1.Condition{replaced}, &answer{id: was}, "Ready", was, true},
		{"the pin was taken out", "", []metav1.Condition{replaced}, &answer{id: is}, "Ready", is, true},
		{"gone, and not asked yet", was, []metav1.Condition{absent}, nil, reasonAbsent, was, true},
		{"gone, and made again", was, []metav1.Condition{absent}, &answer{id: is}, reasonReplaced, was, false},
	} {
		s := entryOf("a", 1, arnOf(devRole), func(e *v1alpha1.AccessEntry) {
			e.Status.UserID, e.Status.Conditions = row.pinned, row.before
		})
		w, known := worldOf(s), &asked{told: func() {}}
		if row.said != nil {
			known.set(devRole, row.said)
		}
		w.judge(known)
		s.describe(w, &outcome{})
		ready := meta.FindStatusCondition(s.status.Conditions, conditionReady)
		if ready.Reason != row.reason || s.status.UserID != row.userID || s.counts() != row.counts ||
			(len(w.grants()) > 0) != row.counts {
			t.Errorf("%s: got %s, pinned %s, counts %t: %s", row.name, ready.Reason, s.status.UserID, s.counts(), ready.Message)
		}
		// To say it again is to say nothing new.
		again := newEntry(s.entry)
		w = worldOf(again)
		w.judge(known)
		if again.describe(w, &outcome{}); again.isNews() {
			t.Errorf("%s: it is said in other words the next time: %+v", row.name, again.status.Conditions)
		}
	}
}

// TestMappingReplaced: a mapping uses the id in its spec.
func TestMappingReplaced(t *testing.T) {
	t.Parallel()
	const was, is = "AROAOLDOLDOLDOLDOLD00", "AROANEWNEWNEWNEWNEW00"
	for _, row := range []struct{ pinned, is, reason string }{
		{"", is, "Ready"}, {is, is, "Ready"}, {was, is, reasonReplaced},
	} {
		s, known := mappingOf("m", 1, arnOf(devRole), row.pinned), &asked{told: func() {}}
		known.set(devRole, &answer{id: row.is})
		w := worldOf(s)
		w.judge(known)
		s.describe(w, &outcome{})
		ready := meta.FindStatusCondition(s.status.Conditions, conditionReady)
		if ready.Reason != row.reason || s.status.UserID != row.pinned ||
			meta.FindStatusCondition(s.status.Conditions, conditionBound) != nil {
			t.Errorf("%+v: got %+v", row, s.status)
		}
	}
}

// TestLastAnswerCounts: an IAM that cannot be asked changes nothing.
func TestLastAnswerCounts(t *testing.T) {
	t.Parallel()
	told := 0
	known := &asked{told: func() { told++ }}
	for i, row := range []struct {
		said *answer
		want answer
		told int
	}{
		{&answer{problem: "no"}, answer{problem: "no"}, 1},
		{&answer{problem: "no"}, answer{problem: "no"}, 1},
		{&answer{id: "A"}, answer{id: "A"}, 2},
		{&answer{id: "A"}, answer{id: "A"}, 2},
		{&answer{problem: "no"}, answer{id: "A"}, 2},
		{&answer{absent: true}, answer{absent: true}, 3},
		{&answer{problem: "no"}, answer{absent: true}, 3},
		{nil, answer{}, 3},
	} {
		known.set("p", row.said)
		if got, _ := known.of("p"); got != row.want || told != row.told {
			t.Errorf("%d: got %+v, told %d times, want %+v, %d", i, got, told, row.want, row.told)
		}
	}
}

// TestOutcome: what only somebody else can change is told from what may be another time.
func TestOutcome(t *testing.T) {
	t.Parallel()
	o := &outcome{places: map[accesspolicy.Place]error{}}
	place := accesspolicy.Place{Policy: "AmazonEKSViewPolicy"}
	_ = o.fail(&foreign{"ClusterRole a"}, place)
	if !o.hindered || len(o.failed) > 0 || o.places[place] == nil {
		t.Errorf("of somebody else: %+v", o)
	}
	_ = o.fail(errors.New("down"))
	if len(o.failed) != 1 {
		t.Errorf("another error: %+v", o)
	}
}

// TestNamesThatNobodyCanGive: an object that is older than its definition's rules, and gives
// a name that the authenticator refuses, is not one by which anybody enters.
func TestNamesThatNobodyCanGive(t *testing.T) {
	t.Parallel()
	entry := &v1alpha1.AccessEntry{Spec: v1alpha1.AccessEntrySpec{
		Principal: v1alpha1.Principal{ARN: "arn:aws:iam::111122223333:user/carol"}, Type: v1alpha1.StandardEntry,
		KubernetesGroups: []string{"access-entry:70c1a7686b6d0363"},
	}}
	mapping := &v1alpha1.IdentityMapping{Spec: v1alpha1.IdentityMappingSpec{
		Principal: v1alpha1.Principal{ARN: "arn:aws:iam::111122223333:user/dave"}, Username: "system:admin",
	}}
	for _, s := range []*subject{newEntry(entry), newMapping(mapping)} {
		if s.mapping != nil || s.flaw == nil {
			t.Errorf("%T: mapping %v, flaw %v", s.object, s.mapping, s.flaw)
		}
	}
}
