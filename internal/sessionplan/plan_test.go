package sessionplan

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

const (
	roleARN   = "arn:aws:iam::111122223333:role/team/cart"
	targetARN = "arn:aws:iam::444455556666:role/writer"
	brokerARN = "arn:aws:iam::111122223333:role/broker"
	issuer    = "https://oidc.example.com/prod"
	unique    = "5a8f6f0e-0000-4000-8000-000000000001"
)

var (
	nameForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	cart     = Subject{
		Namespace:      "shop",
		ServiceAccount: "cart",
		Pod:            "cart-0",
		PodUID:         "d2a4e0b6-2222-4d3f-8b1b-5f5f4d1c0002",
		Node:           "n1",
		Labels:         map[string]string{"tier": "front"},
	}
	prod = Plane{
		Cluster: association.Cluster{
			Name:      "prod",
			Partition: "aws",
			Region:    "eu-west-1",
			Account:   "111122223333",
		},
		Mode:          v1alpha1.Federated,
		Issuer:        issuer,
		BrokerRoleARN: brokerARN,
		PodLabels:     []string{"tier"},
	}
)

type spec = v1alpha1.PodIdentityAssociationSpec

func associated(change func(*spec)) *v1alpha1.PodIdentityAssociation {
	a := &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec:       spec{ServiceAccountName: "cart", RoleARN: roleARN},
	}
	if change != nil {
		change(&a.Spec)
	}
	return a
}

func in(mode v1alpha1.AssociationMode) *Plane {
	p := prod
	p.Mode, p.Choices = mode, association.Choices()
	if mode == v1alpha1.Federated {
		p.Modes = []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole}
	}
	return &p
}

func closed(text string) Text { return Text{Value: text} }

func tag(key, value string) Tag { return Tag{Key: key, Text: closed(value)} }

// six are the tags of cart-0.
func six() []Tag {
	return []Tag{
		tag("eks-cluster-arn", "arn:aws:eks:eu-west-1:111122223333:cluster/prod"),
		tag("eks-cluster-name", "prod"),
		tag("kubernetes-namespace", "shop"),
		tag("kubernetes-service-account", "cart"),
		tag("kubernetes-pod-name", "cart-0"),
		tag("kubernetes-pod-uid", cart.PodUID),
	}
}

// everything has all that an association may say.
func everything(s *spec) {
	s.TargetRoleARN, s.SourceIdentity, s.SessionName = targetARN, "${namespace}.${podName}", "${serviceAccount}@${node}"
	s.SessionTags, s.OmitTags = map[string]string{
		"who": "${namespace}/${podLabel:tier}",
		"b":   "2",
	}, []string{"eks-cluster-name"}
	s.SessionPolicy, s.DurationSeconds = `{"Version":"2012-10-17"}`, 7200
}

// TestPlans writes out what is asked of STS in each mode, for an association that says
// nothing and for one that says everything.
func TestPlans(t *testing.T) {
	t.Parallel()
	const externalID = "eu-west-1/111122223333/prod/shop/cart"
	const subject = "system:serviceaccount:shop:cart"
	minted := Caller{Kind: MintedToken, Issuer: issuer, Subject: subject, Audience: "sts.amazonaws.com"}
	own := Caller{Kind: PodToken, Issuer: issuer, Subject: subject, Audience: "pods.eks.amazonaws.com"}
	usual, chosen := closed("eks-prod-cart-0-"+unique), closed("cart@n1")
	tags := append(
		slices.DeleteFunc(six(), func(t Tag) bool { return t.Key == "eks-cluster-name" }), tag("b", "2"),
		tag("who", "shop/front"),
	)
	target := &Call{
		Operation:  AssumeRole,
		Caller:     Caller{Kind: FirstRole, ARN: roleARN},
		RoleARN:    targetARN,
		Name:       chosen,
		Duration:   59 * time.Minute,
		Policy:     `{"Version":"2012-10-17"}`,
		ExternalID: externalID,
	}
	targetOnEKS := *target
	targetOnEKS.Name = usual
	withoutTag := slices.DeleteFunc(six(), func(t Tag) bool { return t.Key == "eks-cluster-name" })
	for _, row := range []struct {
		name   string
		mode   v1alpha1.AssociationMode
		change func(*spec)
		want   Plan
	}{
		{
			name: "federated, the least", mode: v1alpha1.Federated,
			want: Plan{Role: Call{
				Operation: AssumeRoleWithWebIdentity,
				Caller:    minted,
				RoleARN:   roleARN,
				Name:      usual,
				Duration:  6 * time.Hour,
				Tags:      six(),
			}},
		},
		{
			name:   "federated, everything",
			mode:   v1alpha1.Federated,
			change: everything,
			want: Plan{Target: target, Role: Call{
				Operation:      AssumeRoleWithWebIdentity,
				Caller:         minted,
				RoleARN:        roleARN,
				Name:           chosen,
				Duration:       15 * time.Minute,
				SourceIdentity: closed("shop.cart-0"),
				Tags:           tags,
			}},
		},
		{
			name: "passed through, the least", mode: v1alpha1.PassThrough,
			want: Plan{Role: Call{
				Operation: AssumeRoleWithWebIdentity,
				Caller:    own,
				RoleARN:   roleARN,
				Name:      usual,
				Duration:  6 * time.Hour,
			}},
		},
		{
			name:   "passed through, everything: neither tags nor a source identity",
			mode:   v1alpha1.PassThrough,
			change: everything,
			want: Plan{Target: target, Role: Call{
				Operation: AssumeRoleWithWebIdentity,
				Caller:    own,
				RoleARN:   roleARN,
				Name:      chosen,
				Duration:  15 * time.Minute,
			}},
		},
		{
			name: "by the broker's role, the least", mode: v1alpha1.BrokerRole,
			want: Plan{Role: Call{
				Operation:  AssumeRole,
				Caller:     Caller{Kind: BrokerRole, ARN: brokerARN},
				RoleARN:    roleARN,
				Name:       usual,
				Duration:   6 * time.Hour,
				ExternalID: externalID,
				Tags:       six(),
			}},
		},
		{
			name:   "by the broker's role, everything",
			mode:   v1alpha1.BrokerRole,
			change: everything,
			want: Plan{Target: target, Role: Call{
				Operation:      AssumeRole,
				Caller:         Caller{Kind: BrokerRole, ARN: brokerARN},
				RoleARN:        roleARN,
				Name:           chosen,
				Duration:       15 * time.Minute,
				ExternalID:     externalID,
				SourceIdentity: closed("shop.cart-0"),
				Tags:           tags,
			}},
		},
		{
			name: "on EKS, the least", mode: EKS,
			want: Plan{Role: Call{
				Operation: AssumeRole,
				Caller:    Caller{Kind: EKSService, ARN: "pods.eks.amazonaws.com"},
				RoleARN:   roleARN,
				Name:      usual,
				Duration:  6 * time.Hour,
				Tags:      six(),
			}},
		},
		{
			name:   "on EKS, everything: only what EKS has",
			mode:   EKS,
			change: everything,
			want: Plan{Target: &targetOnEKS, Role: Call{
				Operation: AssumeRole,
				Caller:    Caller{Kind: EKSService, ARN: "pods.eks.amazonaws.com"},
				RoleARN:   roleARN,
				Name:      usual,
				Duration:  15 * time.Minute,
				Tags:      withoutTag,
			}},
		},
		{
			name:   "no tags",
			mode:   v1alpha1.Federated,
			change: func(s *spec) { s.DisableSessionTags, s.SourceIdentity = true, "me" },
			want: Plan{Role: Call{
				Operation:      AssumeRoleWithWebIdentity,
				Caller:         minted,
				RoleARN:        roleARN,
				Name:           usual,
				Duration:       6 * time.Hour,
				SourceIdentity: closed("me"),
			}},
		},
		{
			name: "local tags, and a target role that has them too",
			mode: v1alpha1.Federated,
			change: func(s *spec) {
				s.SessionTagging, s.TargetRoleARN = v1alpha1.LocalTags, targetARN
			},
			want: Plan{
				Role: Call{
					Operation: AssumeRoleWithWebIdentity, Caller: minted, RoleARN: roleARN, Name: usual,
					Duration: 15 * time.Minute, Tags: six(), Local: true,
				},
				Target: &Call{
					Operation: AssumeRole, Caller: Caller{Kind: FirstRole, ARN: roleARN}, RoleARN: targetARN, Name: usual,
					Duration: 59 * time.Minute, ExternalID: externalID, Tags: six(), Local: true,
				},
			},
		},
		{
			name:   "no tags, said the other way",
			mode:   v1alpha1.Federated,
			change: func(s *spec) { s.SessionTagging = v1alpha1.NoTags },
			want: Plan{Role: Call{
				Operation: AssumeRoleWithWebIdentity, Caller: minted, RoleARN: roleARN, Name: usual, Duration: 6 * time.Hour,
			}},
		},
		{
			name:   "local tags on EKS, which has none",
			mode:   EKS,
			change: func(s *spec) { s.SessionTagging = v1alpha1.LocalTags },
			want: Plan{Role: Call{
				Operation: AssumeRole, Caller: Caller{Kind: EKSService, ARN: "pods.eks.amazonaws.com"}, RoleARN: roleARN,
				Name: usual, Duration: 6 * time.Hour, Tags: six(),
			}},
		},
		{
			name:   "an external id and a mode of its own",
			mode:   v1alpha1.Federated,
			change: func(s *spec) { s.ExternalID, s.Mode, s.DisableSessionTags = "agreed", v1alpha1.BrokerRole, true },
			want: Plan{Role: Call{
				Operation:  AssumeRole,
				Caller:     Caller{Kind: BrokerRole, ARN: brokerARN},
				RoleARN:    roleARN,
				Name:       usual,
				Duration:   6 * time.Hour,
				ExternalID: "agreed",
			}},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := associated(row.change)
			got, err := in(row.mode).Plan(a, cart, unique)
			if err != nil {
				t.Fatal(err)
			}
			row.want.Mode = in(row.mode).ModeOf(a)
			got.drop = nil
			if diff := cmp.Diff(&row.want, got, cmp.AllowUnexported(Plan{})); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if last := got.Last(); (last == &got.Role) != (got.Target == nil) {
				t.Errorf("the last call is for %s", last.RoleARN)
			}
		})
	}
}

// TestUnbound: a token that is bound to no pod has no tags about one.
func TestUnbound(t *testing.T) {
	t.Parallel()
	a := associated(func(s *spec) {
		s.SessionTags = map[string]string{"where": "${node}", "tier": "${podLabel:tier}", "who": "${namespace}"}
	})
	got, err := prod.Plan(a, Subject{Namespace: "shop", ServiceAccount: "cart"}, unique)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(six()[:4], tag("who", "shop")), got.Role.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if got.Role.Name != closed("eks-prod-cart-"+unique) {
		t.Errorf("name %+v", got.Role.Name)
	}
}

// TestModes: an association's own mode counts, but on EKS.
func TestModes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ plane, own, want v1alpha1.AssociationMode }{
		{v1alpha1.Federated, "", v1alpha1.Federated},
		{v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.BrokerRole},
		{EKS, "", EKS},
		{EKS, v1alpha1.BrokerRole, EKS},
	} {
		if got := in(row.plane).ModeOf(associated(func(s *spec) { s.Mode = row.own })); got != row.want {
			t.Errorf("%q on a plane of mode %s: %s, want %s", row.own, row.plane, got, row.want)
		}
	}
}

// TestRefusedPlans: an association that cannot give a session has a reason, and
// no plan.
func TestRefusedPlans(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 45 {
		many[strings.Repeat("k", i+1)] = "v"
	}
	for _, row := range []struct {
		name   string
		change func(*spec)
		want   string
		kind   fault.Kind
	}{
		{"an unknown mode", func(s *spec) { s.Mode = "Odd" }, `the unknown mode "Odd"`, fault.Invalid},
		{"EKS asked for", func(s *spec) { s.Mode = "eks" }, "unknown mode", fault.Invalid},
		{
			"an unknown variable", func(s *spec) { s.SessionName = "${secret}" },
			"sessionName has the unknown variable ${secret}", fault.Invalid,
		},
		{
			"uuid in a tag", func(s *spec) { s.SessionTags = map[string]string{"a": "${uuid}"} }, "${uuid}",
			fault.Invalid,
		},
		{"uuid in the source identity", func(s *spec) { s.SourceIdentity = "${uuid}" }, "${uuid}", fault.Invalid},
		{
			"a label that is not listed", func(s *spec) { s.SessionTags = map[string]string{"a": "${podLabel:other}"} },
			`label "other"`, fault.Invalid,
		},
		{"a name that is too short", func(s *spec) { s.SessionName = "a" }, "at least 2", fault.Invalid},
		{
			"a reserved tag", func(s *spec) { s.SessionTags = map[string]string{"Kubernetes-Namespace": "x"} },
			"reserved", fault.Invalid,
		},
		{"a reserved tag that is left out", func(s *spec) {
			s.SessionTags, s.OmitTags = map[string]string{"kubernetes-namespace": "x"}, []string{"kubernetes-namespace"}
		}, "reserved", fault.Invalid},
		{
			"a reserved tag in other letters", func(s *spec) { s.SessionTags = map[string]string{"kuberneteſ-namespace": "x"} },
			"reserved", fault.Invalid,
		},
		{
			"a reserved tag with a blank", func(s *spec) { s.SessionTags = map[string]string{"kubernetes-namespace ": "x"} },
			"reserved", fault.Invalid,
		},
		{
			"a tag of AWS's in other letters", func(s *spec) { s.SessionTags = map[string]string{" aWſ:x": "x"} },
			"does not accept", fault.Invalid,
		},
		{
			"a tag that looks like another",
			func(s *spec) { s.SessionTags = map[string]string{"costs": "1", "coſts": "2"} }, "twice", fault.Invalid,
		},
		{
			"a tag twice", func(s *spec) { s.SessionTags = map[string]string{"a": "1", "A": "2"} }, "twice",
			fault.Invalid,
		},
		{
			"a tag of AWS's", func(s *spec) { s.SessionTags = map[string]string{"AWS:x": "1"} }, "does not accept",
			fault.Invalid,
		},
		{
			"a tag without a key", func(s *spec) { s.SessionTags = map[string]string{"": "1"} }, "does not accept",
			fault.Invalid,
		},
		{
			"a key that is too long",
			func(s *spec) { s.SessionTags = map[string]string{strings.Repeat("k", 129): "1"} }, "does not accept",
			fault.Invalid,
		},
		{
			"a key of other characters", func(s *spec) { s.SessionTags = map[string]string{"a&b": "1"} },
			"does not accept", fault.Invalid,
		},
		{
			"a value that is too long",
			func(s *spec) { s.SessionTags = map[string]string{"a": strings.Repeat("v", 257)} }, "value", fault.Invalid,
		},
		{
			"a value of other characters", func(s *spec) { s.SessionTags = map[string]string{"a": "a&b"} }, "value",
			fault.Invalid,
		},
		{"too many tags", func(s *spec) { s.SessionTags = many }, "51 tags", fault.Invalid},
		{
			"a mode that is not allowed", func(s *spec) { s.Mode = v1alpha1.BrokerRole }, "want Federated", fault.Denied,
		},
		{
			"a mode that is not allowed, without what tells accounts apart", func(s *spec) {
				s.Mode, s.DisableSessionTags, s.ExternalID = v1alpha1.BrokerRole, true, "agreed"
			}, "want Federated", fault.Denied,
		},
		{
			"another mode that is not allowed", func(s *spec) { s.Mode = v1alpha1.PassThrough }, "want Federated",
			fault.Denied,
		},
		{"the mode of EKS", func(s *spec) { s.Mode = EKS }, "want Federated", fault.Denied},
		{
			"another's external id", func(s *spec) { s.ExternalID = "eu-west-1/111122223333/prod/shop/admin" },
			"another service account", fault.Denied,
		},
	} {
		got, err := prod.Plan(associated(row.change), cart, unique)
		if got != nil || err == nil || !strings.Contains(err.Error(), row.want) || fault.KindOf(err) != row.kind {
			t.Errorf("%s: %+v, %v; want %q", row.name, got, err, row.want)
		}
	}
}

// TestLimitsAreReached: as much as STS accepts is accepted.
func TestLimitsAreReached(t *testing.T) {
	t.Parallel()
	most := map[string]string{strings.Repeat("k", 128): strings.Repeat("é", 256)}
	for i := range 43 {
		most[strings.Repeat("a", i+1)] = ""
	}
	got, err := prod.Plan(associated(func(s *spec) { s.SessionTags = most }), cart, unique)
	if err != nil || len(got.Role.Tags) != 50 {
		t.Fatalf("%v", err)
	}
	if got, err = prod.Plan(
		associated(func(s *spec) { s.SessionName = strings.Repeat("n", 100) }), cart, unique,
	); err != nil || len(got.Role.Name.Value) != 64 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err = prod.Plan(associated(func(s *spec) { s.SessionName = "ab" }), cart, unique); err != nil {
		t.Error(err)
	}
}

// TestDefaultName is spec podidentity §14.3 and row S2.
func TestDefaultName(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ cluster, pod, want string }{
		{"prod", "cart-0", "eks-prod-cart-0-"},
		{strings.Repeat("c", 100), strings.Repeat("p", 253), "eks-cccccccccc-pppppppppppp-"},
		{"prod", "a.b", "eks-prod-a.b-"},
		{"prod", "", "eks-prod-cart-"},
	} {
		s, plane := cart, prod
		s.Pod, plane.Cluster.Name = row.pod, row.cluster
		got, err := plane.Plan(associated(nil), s, uuid.NewString())
		again, _ := plane.Plan(associated(nil), s, uuid.NewString())
		if err != nil || !strings.HasPrefix(
			got.Role.Name.Value, row.want,
		) || !nameForm.MatchString(got.Role.Name.Value) || got.Role.Name == again.Role.Name {
			t.Errorf("%s, %s: %+v, %v", row.cluster, row.pod, got, err)
		}
	}
}

func TestExternalID(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ own, want string }{
		{"", "eu-west-1/111122223333/prod/shop/cart"},
		{"eu-west-1/111122223333/prod/shop/cart", "eu-west-1/111122223333/prod/shop/cart"},
		{"something", "something"},
		// another cluster's broker checks its own
		{"eu-west-1/111122223333/prod2/shop/admin", "eu-west-1/111122223333/prod2/shop/admin"},
		{"eu-west-1/111122223333/prod/shop/admin", ""},
		{"eu-west-1/111122223333/prod/kube-system/cart", ""},
		{"eu-west-1/111122223333/prod/", ""},
	} {
		got, err := in(v1alpha1.BrokerRole).Plan(associated(func(s *spec) { s.ExternalID = row.own }), cart, unique)
		if row.want == "" {
			if refused, ok := errors.AsType[*fault.Error](err); got != nil || !ok || refused.Kind != fault.Denied {
				t.Errorf("%q: %+v, %v", row.own, got, err)
			}
			continue
		}
		if err != nil || got.Role.ExternalID != row.want {
			t.Errorf("%q: %+v, %v", row.own, got, err)
		}
	}
}

// TestShrink drops in the order of spec podidentity §19.7.
func TestShrink(t *testing.T) {
	t.Parallel()
	a := associated(func(s *spec) {
		s.SessionTags, s.OnOversize = map[string]string{"a": "1", "b": "2"}, v1alpha1.DropPodTags
	})
	p, err := prod.Plan(a, cart, unique)
	if err != nil || len(p.Role.Tags) != 8 {
		t.Fatalf("%v, %v", p, err)
	}
	all := p.Role.Tags
	for _, want := range []int{7, 6, 4} {
		if !p.Shrink() || len(p.Role.Tags) != want {
			t.Errorf("%v, want %d", p.Role.Tags, want)
		}
	}
	if p.Shrink() || len(all) != 8 || all[5].Key != tagPodUID {
		t.Errorf("%v of %v", p.Role.Tags, all)
	}
	if p, err = prod.Plan(associated(nil), cart, unique); err != nil || p.Shrink() {
		t.Errorf("an association that does not ask for it shrinks: %v", err)
	}
}

// fill puts a pod in the place of what is open.
func fill(text Text, s *Subject) string {
	if !text.Open {
		return text.Value
	}
	replace := []string{"${podName}", s.Pod, "${podUid}", s.PodUID, "${node}", s.Node, "${uuid}", unique}
	for key, value := range s.Labels {
		replace = append(replace, "${podLabel:"+key+"}", value)
	}
	for _, found := range variableForm.FindAllString(text.Value, -1) {
		replace = append(replace, found, "") // a label that the pod has not
	}
	return strings.NewReplacer(replace...).Replace(text.Value)
}

// FuzzAnyPod: what the plan of any pod says of a session is what each pod's plan has;
// what it leaves open comes to that when it is filled in.
func FuzzAnyPod(f *testing.F) {
	for _, seed := range []string{
		"", "${namespace}.${serviceAccount}", "${podName}-${podLabel:tier}", "${node}", "${podLabel:none}", "${uuid}",
		"ab", "${",
	} {
		f.Add(seed, seed, seed, uint8(0), true, "front", true)
		f.Add("", "${podUid}", seed, uint8(1), false, "", false)
		f.Add(seed, "", "x", uint8(2), false, "back", true)
		f.Add(seed, seed, "x", uint8(3), true, "back", true)
	}
	f.Fuzz(func(t *testing.T, name, identity, value string, mode uint8, chained bool, tier string, labelled bool) {
		modes := []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough, EKS}
		plane := in(modes[mode%4])
		a := associated(func(s *spec) {
			s.SessionName, s.SourceIdentity, s.SessionTags = name, identity, map[string]string{"own": value}
			if chained {
				s.TargetRoleARN = targetARN
			}
		})
		pod := cart
		if pod.Labels = nil; labelled {
			pod.Labels = map[string]string{"tier": tier}
		}
		one, err := plane.Plan(a, pod, unique)
		if err != nil {
			return // STS is not asked
		}
		all, err := plane.Plan(a, AnyPod("shop", "cart"), "")
		if err != nil {
			t.Fatalf("a pod has a plan, any pod has none: %v", err)
		}
		same(t, &all.Role, &one.Role, &pod)
		if (all.Target == nil) != (one.Target == nil) {
			t.Fatal("one has a target role, and one has not")
		}
		if all.Target != nil {
			same(t, all.Target, one.Target, &pod)
		}
	})
}

func same(t *testing.T, all, one *Call, pod *Subject) {
	t.Helper()
	if !all.Name.Open && all.Name != one.Name || !all.SourceIdentity.Open && all.SourceIdentity != one.SourceIdentity {
		t.Errorf(
			"name %+v and source identity %+v of any pod, %+v and %+v of one", all.Name, all.SourceIdentity, one.Name,
			one.SourceIdentity,
		)
	}
	if got, want := arn.SessionName(fill(all.SourceIdentity, pod)), one.SourceIdentity.Value; got != want {
		t.Errorf("source identity %+v comes to %q, want %q", all.SourceIdentity, got, want)
	}
	here := slices.Clone(all.Tags)
	here = slices.DeleteFunc(here, func(tag Tag) bool {
		return tag.Optional && !slices.ContainsFunc(one.Tags, func(other Tag) bool { return other.Key == tag.Key })
	})
	for i := range here {
		here[i].Text = closed(fill(here[i].Text, pod))
		here[i].Optional = false
	}
	if diff := cmp.Diff(here, one.Tags); diff != "" {
		t.Errorf("tags (-any pod +this pod):\n%s", diff)
	}
	left, right := *all, *one
	for _, call := range []*Call{&left, &right} {
		call.Name, call.SourceIdentity, call.Tags = Text{}, Text{}, nil
	}
	if diff := cmp.Diff(left, right); diff != "" {
		t.Errorf("the rest (-any pod +this pod):\n%s", diff)
	}
}

// FuzzTemplates: whatever a template says, STS gets a name of its form and tags of its
// form, without a variable left, or nothing at all.
func FuzzTemplates(f *testing.F) {
	for _, seed := range []string{
		"", "${namespace}/${serviceAccount}", "${podName}${uuid}", "${", "${}", "${a}", "x", "é${node}", "$${podUid}}",
		"${name${namespace}space}", "${podLabel:tier}", "${podLabel:}",
	} {
		f.Add(seed, "cart-0")
	}
	f.Fuzz(func(t *testing.T, template, pod string) {
		s := cart
		s.Pod = pod
		if got, err := prod.Plan(
			associated(func(s *spec) { s.SessionName = template }), s, unique,
		); err == nil && !nameForm.MatchString(got.Role.Name.Value) {
			t.Errorf("session name %q of %q", got.Role.Name.Value, template)
		}
		got, err := prod.Plan(associated(func(s *spec) { s.SourceIdentity = template }), s, unique)
		if err == nil && template != "" && !nameForm.MatchString(got.Role.SourceIdentity.Value) {
			t.Errorf("source identity %q of %q", got.Role.SourceIdentity.Value, template)
		}
		got, err = prod.Plan(
			associated(func(s *spec) { s.SessionTags = map[string]string{"key": template, template: "value"} }), s,
			unique,
		)
		if err != nil {
			return
		}
		all, seen := got.Role.Tags, map[string]bool{}
		for _, tag := range all {
			folded := strings.ToLower(tag.Key)
			if seen[folded] || tag.Open || tag.Key != tagPodName && strings.Contains(tag.Value, "${") ||
				len([]rune(tag.Value)) > 256 && tag.Key != tagPodName {
				t.Errorf("tag %+v of %q", tag, template)
			}
			seen[folded] = true
		}
		if all[0] != tag(tagClusterARN, prod.Cluster.ARN()) || all[2].Value != "shop" || all[3].Value != "cart" {
			t.Errorf("tags %v of %q", all, template)
		}
	})
}
