package sessionplan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// planned is what one template comes to, as a session name and as a session tag; tag is
// nil if the session has none of it.
type planned struct {
	name Text
	tag  *Tag
}

func plan(t *testing.T, plane *Plane, template string, s Subject, random string) (planned, error) {
	t.Helper()
	got, err := plane.Plan(associated(func(a *spec) {
		a.SessionName, a.SessionTags = "by-"+template, map[string]string{"own": template}
	}), s, random)
	if err != nil {
		return planned{}, err
	}
	result := planned{name: got.Role.Name}
	for _, tag := range got.Role.Tags {
		if tag.Key == "own" {
			result.tag = &tag
		}
	}
	return result, nil
}

// TestLabels: of labels only those that the plane lists count. A judge
// beforehand without knowing that list leaves each of them open; a broker without a
// list lets none in.
func TestLabels(t *testing.T) {
	t.Parallel()
	unlisted, bare, open := prod, cart, AnyPod("shop", "cart")
	unlisted.PodLabels = nil
	bare.Labels = nil
	asIs := func(template string) planned {
		text := Text{template, true}
		return planned{Text{"by-" + template, true}, &Tag{Key: "own", Text: text, Optional: true}}
	}
	front := tag("own", "front")
	for _, row := range []struct {
		name     string
		plane    *Plane
		subject  Subject
		template string
		want     planned // zero: refused
	}{
		{"a label that the pod has", &prod, cart, "${podLabel:tier}", planned{closed("by-front"), &front}},
		{"a label that the pod has not", &prod, bare, "${podLabel:tier}", planned{closed("by-"), nil}},
		{"a label of any pod", &prod, open, "${podLabel:tier}", asIs("${podLabel:tier}")},
		{"a label that is not listed, of any pod", &prod, open, "${podLabel:zone}", planned{}},
		{"a label, without a list", &unlisted, cart, "${podLabel:tier}", planned{}},
		{"a label of any pod, without a list", &unlisted, open, "${podLabel:tier}", asIs("${podLabel:tier}")},
		{"a label without a name", &prod, cart, "${podLabel:}", planned{}},
		{"a label without a name of any pod, without a list", &unlisted, open, "${podLabel:}", planned{}},
		{"what is no label of any pod, without a list", &unlisted, open, "${label:tier}", planned{}},
	} {
		got, err := plan(t, row.plane, row.template, row.subject, unique)
		if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(planned{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
		if refused := row.want == (planned{}); refused != (err != nil) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestOpenNames: a name is open as soon as one part of it is: the random one before the
// moment, the pod's before there is a pod.
func TestOpenNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		subject Subject
		unique  string
		want    Text
	}{
		{"a pod, now", cart, unique, closed("eks-prod-cart-0-" + unique)},
		{"a pod, some time", cart, "", Text{"eks-prod-cart-0-${uuid}", true}},
		{"any pod, now", AnyPod("shop", "cart"), unique, Text{"eks-prod-${podName}-" + unique, true}},
		{"any pod, some time", AnyPod("shop", "cart"), "", Text{"eks-prod-${podName}-${uuid}", true}},
	} {
		got, err := prod.Plan(associated(nil), row.subject, row.unique)
		if err != nil || got.Role.Name != row.want {
			t.Errorf("%s: %+v, %v; want %+v", row.name, got, err, row.want)
		}
	}
}

// TestShrinkLeavesOutWhatIsThere: a tag that the association omits anyway is not one
// that can be left out: the next one goes instead.
func TestShrinkLeavesOutWhatIsThere(t *testing.T) {
	t.Parallel()
	p, err := prod.Plan(associated(func(s *spec) {
		s.OmitTags, s.OnOversize = []string{tagPodUID}, v1alpha1.DropPodTags
	}), cart, unique)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Shrink() || len(p.Role.Tags) != 4 || p.Role.Tags[3].Key != tagServiceAccount {
		t.Errorf("without the pod's UID and name there is %v", p.Role.Tags)
	}
	if p.Shrink() {
		t.Errorf("there is something left to leave out of %v", p.Role.Tags)
	}
}

// TestDurations: what the association wants counts; a target role's session ends within
// the hour, and the first one is then only for the moment.
func TestDurations(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		seconds     int32
		target      string
		first, last time.Duration
	}{
		{"as usual", 0, "", 6 * time.Hour, 6 * time.Hour},
		{"half an hour", 1800, "", 30 * time.Minute, 30 * time.Minute},
		{"two hours", 7200, "", 2 * time.Hour, 2 * time.Hour},
		{"as usual, with a target role", 0, targetARN, 15 * time.Minute, 59 * time.Minute},
		{"half an hour, with a target role", 1800, targetARN, 15 * time.Minute, 30 * time.Minute},
	} {
		got, err := prod.Plan(
			associated(func(s *spec) { s.DurationSeconds, s.TargetRoleARN = row.seconds, row.target }), cart, unique,
		)
		if err != nil || got.Role.Duration != row.first || got.Last().Duration != row.last {
			t.Errorf("%s: %+v, %v; want %s and %s", row.name, got, err, row.first, row.last)
		}
	}
}
