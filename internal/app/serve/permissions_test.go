package serve

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/permissions"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// TestMissingPermissionsAreSaid: broker and controller say which permission is missing, what
// needs it, and which rule to add where; once, and again when none is missing any longer.
func TestMissingPermissionsAreSaid(t *testing.T) {
	t.Parallel()
	broker := brokerConfig{
		verify: "auto", agentAuth: "token", keys: "apiserver", eksAPI: true, events: true,
	}
	broker.certificates.Namespace, broker.certificates.Secret = "rolecall-system", "rolecall-broker-tls"
	controller := controllerConfig{
		namespace: "rolecall-system", groups: groupFlags{on: true},
		access: accessFlags{on: true, policies: []string{"AmazonEKSViewPolicy"}, flavor: "eks"},
	}
	for _, row := range []struct {
		server     string
		all        []permissions.Permission
		refuse     func(*authorizationv1.SelfSubjectAccessReviewSpec) bool
		rule, need string
	}{
		{"broker", broker.permissions(), func(s *authorizationv1.SelfSubjectAccessReviewSpec) bool {
			return s.ResourceAttributes != nil && s.ResourceAttributes.Resource == "rolegrants" && s.ResourceAttributes.Verb == "watch"
		}, `add this rule to the broker's ClusterRole: {apiGroups: [\"rolecall.io\"], resources: [rolegrants], verbs: [watch]}`, "always"},
		{"broker", broker.permissions(), func(s *authorizationv1.SelfSubjectAccessReviewSpec) bool {
			return s.NonResourceAttributes != nil && s.NonResourceAttributes.Path == "/openid/v1/jwks"
		}, `add this rule to the broker's ClusterRole: {nonResourceURLs: [/openid/v1/jwks], verbs: [get]}`, "--keys apiserver"},
		{"broker", broker.permissions(), func(s *authorizationv1.SelfSubjectAccessReviewSpec) bool {
			return s.ResourceAttributes != nil && s.ResourceAttributes.Name == "rolecall-broker-tls"
		}, `add this rule to the broker's Role in namespace rolecall-system: {apiGroups: [\"\"], resources: [secrets], ` +
			`verbs: [get, list, watch, update], resourceNames: [rolecall-broker-tls]}`, "--tls-secret"},
		{"controller", controller.permissions(true), func(s *authorizationv1.SelfSubjectAccessReviewSpec) bool {
			return s.ResourceAttributes.Subresource == "status" && s.ResourceAttributes.Resource == "issuers"
		}, `add this rule to the controller's ClusterRole: {apiGroups: [\"rolecall.io\"], resources: [issuers/status], verbs: [patch]}`, "always"},
		{"controller", controller.permissions(false), func(s *authorizationv1.SelfSubjectAccessReviewSpec) bool {
			return s.ResourceAttributes.Subresource == "status" && s.ResourceAttributes.Resource == "groupmappings"
		}, `add this rule to the controller's ClusterRole: {apiGroups: [\"rolecall.io\"], resources: [groupmappings/status], ` +
			`verbs: [patch]}`, "--group-mappings"},
		{"controller", controller.permissions(true), func(s *authorizationv1.SelfSubjectAccessReviewSpec) bool {
			return s.ResourceAttributes.Resource == "leases" && s.ResourceAttributes.Name != ""
		}, `add this rule to the controller's Role in namespace rolecall-system: {apiGroups: [\"coordination.k8s.io\"], ` +
			`resources: [leases], verbs: [get, update], resourceNames: [rolecall-controller]}`, "--leader-election-namespace"},
		{"controller", controller.permissions(true), func(s *authorizationv1.SelfSubjectAccessReviewSpec) bool {
			return s.ResourceAttributes.Verb == "escalate"
		}, `add this rule to the controller's ClusterRole: {apiGroups: [\"rbac.authorization.k8s.io\"], resources: [clusterroles], ` +
			`verbs: [escalate], resourceNames: [access-policy:AmazonEKSViewPolicy]}`, "--access-entries"},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, log := fake.NewClientset(), &lockedbuffer.Buffer{}
			var granted atomic.Bool
			client.PrependReactor("create", "selfsubjectaccessreviews",
				func(action clienttesting.Action) (bool, runtime.Object, error) {
					review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
					review.Status.Allowed = granted.Load() || !row.refuse(&review.Spec)
					return true, review, nil
				})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			check := checkPermissions(row.server, row.all, neededBy, client, slog.New(slog.NewJSONHandler(log, nil)))
			go func() { done <- check(ctx) }()
			time.Sleep(5 * permissionsAgain)
			if text := log.String(); strings.Count(text, `"permission missing"`) != 1 || !strings.Contains(text, row.rule) ||
				!strings.Contains(text, `"needed":"`+row.need+`"`) {
				t.Errorf("want one line with %s, for %s:\n%s", row.rule, row.need, text)
			}
			granted.Store(true)
			if err := <-done; err != nil || !strings.Contains(log.String(), "no permission is missing now") {
				t.Errorf("%v\n%s", err, log)
			}
		})
	}
}

// TestNothingIsMissedThatNobodyNeeds: what flags leave out needs no permission.
func TestNothingIsMissedThatNobodyNeeds(t *testing.T) {
	t.Parallel()
	quiet := brokerConfig{verify: "tokenreview", agentAuth: "none", keys: "apiserver"}
	quiet.certificates.CertFile = "tls.crt"
	for _, p := range quiet.permissions() {
		for _, left := range []string{"secrets", "nodes", "serviceaccounts", "events", "subjectaccessreviews"} {
			if p.Needed && (p.Resource == left || p.URL != "") {
				t.Errorf("%s is needed, for %s", p.Rule(), p.For)
			}
		}
	}
	alone := controllerConfig{noElection: true}
	for _, p := range alone.permissions(false) {
		if p.Needed && (p.Resource == "leases" || strings.HasPrefix(p.Resource, "podidentityassociations") ||
			strings.HasPrefix(p.Resource, "groupmappings")) {
			t.Errorf("%s is needed, for %s", p.Rule(), p.For)
		}
	}
}
