package session

import (
	"regexp"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
)

var (
	nameForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	cart     = Subject{"shop", "cart", "cart-0", "d2a4e0b6-2222-4d3f-8b1b-5f5f4d1c0002", "n1", map[string]string{"tier": "front"}}
	prod     = &association.Cluster{Name: "prod", Partition: "aws", Region: "eu-west-1", Account: "111122223333"}
)

// TestDefaultName is spec podidentity row S2 and §14.3.
func TestDefaultName(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ cluster, pod, want string }{
		{"prod", "cart-0", "eks-prod-cart-0-"},
		{strings.Repeat("c", 100), strings.Repeat("p", 253), "eks-cccccccccc-pppppppppppp-"},
		{"prod", "a.b", "eks-prod-a.b-"},
		{"prod", "", "eks-prod-cart-"},
	} {
		s := cart
		s.Pod = row.pod
		got, err := sessionName("", row.cluster, s, variables(s, []string{"tier"}))
		again, _ := sessionName("", row.cluster, s, variables(s, []string{"tier"}))
		if err != nil || !strings.HasPrefix(got, row.want) || !nameForm.MatchString(got) || got == again {
			t.Errorf("%s, %s: %q, %v", row.cluster, row.pod, got, err)
		}
	}
}

func TestExternalID(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ own, want string }{
		{"", "eu-west-1/111122223333/prod/shop/cart"},
		{"eu-west-1/111122223333/prod/shop/cart", "eu-west-1/111122223333/prod/shop/cart"},
		{"something", "something"},
		{"eu-west-1/111122223333/prod2/shop/admin", "eu-west-1/111122223333/prod2/shop/admin"}, // another cluster's broker checks its own
		{"eu-west-1/111122223333/prod/shop/admin", ""},
		{"eu-west-1/111122223333/prod/kube-system/cart", ""},
		{"eu-west-1/111122223333/prod/", ""},
	} {
		got, err := externalID(prod, row.own, cart)
		if got != row.want || (err != nil) != (row.want == "") || err != nil && refusal.Of(err).Code != refusal.AccessDenied {
			t.Errorf("%q: %q, %v", row.own, got, err)
		}
	}
}

// TestShrink drops in the order of spec podidentity §19.7.
func TestShrink(t *testing.T) {
	t.Parallel()
	spec := &v1alpha1.PodIdentityAssociationSpec{SessionTags: map[string]string{"a": "1", "b": "2"}}
	all, err := tags(prod, spec, cart, variables(cart, nil))
	if err != nil || len(all) != 8 {
		t.Fatalf("%v, %v", all, err)
	}
	p := &plan{tags: all, drop: []string{tagPodUID, tagPodName, ""}}
	for _, want := range []int{7, 6, 4} {
		if !p.shrink() || len(p.tags) != want {
			t.Errorf("%v, want %d", p.tags, want)
		}
	}
	if p.shrink() || len(all) != 8 {
		t.Errorf("%v", p.tags)
	}
}

// FuzzTemplates: whatever a template says, STS gets a name of its form and tags
// of its form, without a variable left, or nothing at all.
func FuzzTemplates(f *testing.F) {
	for _, seed := range []string{"", "${namespace}/${serviceAccount}", "${podName}${uuid}", "${", "${}", "${a}", "x", "é${node}", "$${podUid}}", "${name${namespace}space}", "${podLabel:tier}", "${podLabel:}"} {
		f.Add(seed, "cart-0")
	}
	f.Fuzz(func(t *testing.T, template, pod string) {
		s := cart
		s.Pod = pod
		if got, err := sessionName(template, "prod", s, variables(s, []string{"tier"})); err == nil && !nameForm.MatchString(got) {
			t.Errorf("session name %q of %q", got, template)
		}
		if got, err := name("sourceIdentity", template, variables(s, []string{"tier"})); err == nil && !nameForm.MatchString(got) {
			t.Errorf("source identity %q of %q", got, template)
		}
		all, err := tags(prod, &v1alpha1.PodIdentityAssociationSpec{SessionTags: map[string]string{"key": template, template: "value"}}, s, variables(s, []string{"tier"}))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, tag := range all {
			folded := strings.ToLower(tag.Key)
			if seen[folded] || tag.Key != tagPodName && strings.Contains(tag.Value, "${") || len([]rune(tag.Value)) > 256 && tag.Key != tagPodName {
				t.Errorf("tag %+v of %q", tag, template)
			}
			seen[folded] = true
		}
		if all[0] != (awsapi.Tag{Key: tagClusterARN, Value: prod.ARN()}) || all[2].Value != "shop" || all[3].Value != "cart" {
			t.Errorf("tags %v of %q", all, template)
		}
	})
}
