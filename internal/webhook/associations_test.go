package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

var associationsResource = schema.GroupVersionResource{
	Group:    "rolecall.io",
	Version:  "v1alpha1",
	Resource: "podidentityassociations",
}

func associationOf(namespace, name string, spec map[string]any) *unstructured.Unstructured {
	full := map[string]any{"serviceAccountName": name, "roleARN": role}
	maps.Copy(full, spec)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rolecall.io/v1alpha1", "kind": "PodIdentityAssociation",
		"metadata": map[string]any{"namespace": namespace, "name": name, "uid": namespace + name}, "spec": full,
	}}
}

func associationClient(objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{associationsResource: "PodIdentityAssociationList"}, objects...)
}

// slowClient holds reads of one object up, before and after they are made; the
// fake one's reactors cannot, since it holds a lock as they run.
type slowClient struct {
	dynamic.Interface
	before func(context.Context)
	after  func()
}

// IsWatchListSemanticsUnSupported is what the fake client says of itself.
func (slowClient) IsWatchListSemanticsUnSupported() bool { return true }

func (c slowClient) Resource(resource schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return slowResource{c.Interface.Resource(resource), c}
}

type slowResource struct {
	dynamic.NamespaceableResourceInterface
	client slowClient
}

func (r slowResource) Namespace(namespace string) dynamic.ResourceInterface {
	return slowReads{r.NamespaceableResourceInterface.Namespace(namespace), r.client}
}

type slowReads struct {
	dynamic.ResourceInterface
	client slowClient
}

func (l slowReads) Get(
	ctx context.Context, name string, options metav1.GetOptions, subresources ...string,
) (*unstructured.Unstructured, error) {
	if l.client.before(ctx); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	defer l.client.after()
	return l.ResourceInterface.Get(ctx, name, options, subresources...)
}

// deaf makes watches that never say anything.
func deaf(client *dynamicfake.FakeDynamicClient) {
	client.PrependWatchReactor("*",
		func(clienttesting.Action) (bool, watch.Interface, error) { return true, watch.NewFake(), nil })
}

// following runs associations until the test's bubble ends.
func following(t *testing.T, client dynamic.Interface, grace time.Duration) *webhook.Associations {
	t.Helper()
	associations := webhook.NewAssociations(client, grace, time.Now, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- associations.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-associations.Synced()
	synctest.Wait()
	return associations
}

// TestAssociated: what an association does to a pod, against annotation, file and
// RoleGrants.
func TestAssociated(t *testing.T) {
	t.Parallel()
	const other = "arn:aws:iam::444455556666:role/other"
	for _, row := range []struct {
		name, account string
		spec          map[string]any // of the association
		file          bool
		grants        []string // roles that n/* may use; nil for no RoleGrant
		method        string
		refused       string // the role
		warning       string
	}{
		{name: "over the annotation", account: "s", method: "container_credentials"},
		{name: "of an account without annotation", account: "plain", method: "container_credentials"},
		{name: "of an account that does not exist", account: "gone", method: "container_credentials"},
		{name: "none", account: "-s", method: "sts_web_identity"},
		{
			name:    "pattern",
			account: "plain",
			spec:    map[string]any{"serviceAccountName": "pl*", "allowPatterns": true},
			method:  "container_credentials",
		},
		{
			name:    "pattern of others",
			account: "plain",
			spec:    map[string]any{"serviceAccountName": "x*", "allowPatterns": true},
			method:  "none",
		},
		{
			name:    "paused",
			account: "s",
			spec:    map[string]any{"paused": true},
			method:  "container_credentials",
			warning: "PodIdentityAssociation n/s is paused",
		},
		{
			name:    "that cannot be read",
			account: "s",
			spec:    map[string]any{"paused": "perhaps"},
			method:  "container_credentials",
			warning: "is paused",
		},
		{name: "granted", account: "s", grants: []string{role}, method: "container_credentials"},
		{
			name:    "not granted",
			account: "s",
			grants:  []string{other},
			refused: role,
			warning: "no RoleGrant lets n/s use " + role,
		},
		{
			name:    "target granted",
			account: "s",
			spec:    map[string]any{"targetRoleARN": other},
			grants:  []string{role, other},
			method:  "container_credentials",
		},
		{
			name:    "target not granted",
			account: "s",
			spec:    map[string]any{"targetRoleARN": other},
			grants:  []string{role},
			refused: other,
			warning: "no RoleGrant lets n/s use " + other,
		},
		{name: "not granted, of the file too", account: "s", file: true, grants: []string{other}, refused: role},
		{name: "of the file only", account: "-s", file: true, grants: []string{other}, method: "container_credentials"},
		{
			name:    "that cannot be read is not granted",
			account: "s",
			spec:    map[string]any{"paused": "perhaps"},
			grants:  []string{"*"},
			refused: "-",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			name, found := strings.CutPrefix(row.account, "-")
			client := associationClient()
			if !found {
				client = associationClient(associationOf("n", name, row.spec))
			}
			var told []webhook.Refusal
			config := webhook.Config{
				Settings:        inject.Defaults(),
				ServiceAccounts: accounts,
				Associations: following(t, client,
					time.Second),
				Metrics: prometheus.NewRegistry(),
				Refused: func(r webhook.Refusal) {
					told = append(told,
						r)
				},
				Log: slog.New(slog.DiscardHandler),
				Now: time.Now,
			}
			if row.file {
				config.Identities = follow.Fixed[inject.Identities]{
					Content: inject.Identities{{Namespace: "n", ServiceAccount: name}: {}},
				}
			}
			if row.grants != nil {
				config.Grants = grants("n", row.grants...)
			}
			handler, err := webhook.New(config)
			if err != nil {
				t.Fatal(err)
			}
			var review admissionv1.AdmissionReview
			if err := json.Unmarshal(post(t, handler,
				reviewOf("v1", strings.Replace(pod, `"s"`, `"`+name+`"`, 1))).Body.Bytes(), &review); err != nil {
				t.Fatal(err)
			}
			got := review.Response
			method, wantRole := row.method, ""
			if row.refused != "" {
				method, wantRole = "refused", strings.Trim(row.refused, "-")
				if len(told) != 1 || told[0].Kind != webhook.RoleNotGranted {
					t.Errorf("%s: told %+v", row.name, told)
				}
			} else if method != "none" && !row.file && !found {
				wantRole = role
				if strings.Contains(row.name, "cannot be read") {
					wantRole = ""
				}
			}
			if got.AuditAnnotations["identity"] != method ||
				(len(got.Patch) > 0) != (method != "none" && method != "refused") {
				t.Errorf("%s: %+v", row.name, got)
			}
			if !found && got.AuditAnnotations["role"] != wantRole {
				t.Errorf("%s: role %q, want %q", row.name, got.AuditAnnotations["role"], wantRole)
			}
			if method == "container_credentials" && strings.Contains(string(got.Patch), "AWS_ROLE_ARN") {
				t.Errorf("%s: web identity too: %s", row.name, got.Patch)
			}
			if has := strings.Join(got.Warnings,
				"\n"); !strings.Contains(has, row.warning) || row.warning == "" && row.refused == "" && has != "" {
				t.Errorf("%s: warnings %q", row.name, got.Warnings)
			}
		})
	}
}

// TestJustCreated: an association that no watch has told of yet counts; and no
// review is answered by a read that had begun before it came.
func TestJustCreated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := associationClient()
		deaf(client)
		var reads atomic.Int64
		held := make(chan struct{})
		associations := following(t, slowClient{client, func(context.Context) {}, func() {
			if reads.Add(1) == 1 { // has read that there is none, and is slow to say it
				<-held
			}
		}}, 10*time.Second)
		name := inject.Name{Namespace: "n", ServiceAccount: "s"}
		early := make(chan bool)
		go func() {
			found, err := associations.Of(t.Context(), name)
			early <- found == nil && err == nil
		}()
		synctest.Wait()
		if _, err := client.Resource(associationsResource).Namespace("n").Create(t.Context(), associationOf("n", "s",
			nil), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		late := make(chan string)
		for range 100 {
			go func() {
				found, err := associations.Of(t.Context(), name)
				if err != nil || found == nil {
					late <- fmt.Sprintf("%v %v", found, err)
					return
				}
				late <- found.Name
			}()
		}
		for range 100 {
			if got := <-late; got != "s" {
				t.Errorf("asked after it was created: %s", got)
			}
		}
		close(held)
		if !<-early {
			t.Error("asked before it was created: not the answer of the first read")
		}
	})
}

// TestPatternsWithAccountsNames: an object that has the account's name is not for it by
// that, and a pattern of that name counts if it covers the account.
func TestPatternsWithAccountsNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := associationClient()
		deaf(client)
		associations := following(t, client, time.Second)
		for name, pattern := range map[string]string{"cart": "ca*", "reader": "writer*"} {
			if _, err := client.Resource(associationsResource).Namespace("m").Create(t.Context(), associationOf(
				"m", name, map[string]any{"serviceAccountName": pattern, "allowPatterns": true},
			), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for account, want := range map[string]bool{"cart": true, "reader": false, "other": false} {
			found, err := associations.Of(t.Context(), inject.Name{Namespace: "m", ServiceAccount: account})
			if (found != nil) != want || err != nil {
				t.Errorf("%s: %v %v", account, found, err)
			}
		}
	})
}

// TestReadsOfOneObject: what a namespace has costs a pod nothing; no list is read.
func TestReadsOfOneObject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := associationClient()
		associations := following(t, client, time.Second)
		client.ClearActions()
		for i := range 50 {
			if _, err := associations.Of(t.Context(), inject.Name{
				Namespace: "n", ServiceAccount: fmt.Sprint("s", i),
			}); err != nil {
				t.Fatal(err)
			}
		}
		for _, action := range client.Actions() {
			if action.GetVerb() != "get" {
				t.Errorf("%s %s", action.GetVerb(), action.GetNamespace())
			}
		}
	})
}

// TestAssociationStorm: the reads of a storm of pods are few, and never more at a
// time than there are places.
func TestAssociationStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := associationClient()
		var reads, running, most atomic.Int64
		associations := following(t, slowClient{client, func(context.Context) {
			reads.Add(1)
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(20 * time.Millisecond)
		}, func() { running.Add(-1) }}, time.Second)
		answered := make(chan error)
		const pods = 5000
		start := time.Now()
		for i := range pods {
			go func() {
				time.Sleep(time.Duration(i) * time.Second / pods)
				_, err := associations.Of(t.Context(), inject.Name{
					Namespace:      fmt.Sprint("n", i%150),
					ServiceAccount: "s",
				})
				answered <- err
			}()
		}
		for range pods {
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
		}
		if took, got := time.Since(start), reads.Load(); float64(got) > 1001+1000*took.Seconds() || got < 150 ||
			most.Load() != 32 {
			t.Errorf("%d reads, %d at a time, for %d pods in %s", got, most.Load(), pods, took)
		}
	})
}

// TestAssociationsUnread: an API server that does not answer makes no pod wait
// for long nor fail: those known are used, and it is said.
func TestAssociationsUnread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := associationClient(associationOf("n", "known", nil))
		var fail atomic.Bool
		busy := func(action clienttesting.Action) (bool, runtime.Object, error) {
			if fail.Load() && action.GetNamespace() != "" {
				return true, nil, errors.New("the server is busy")
			}
			return false, nil, nil
		}
		client.PrependReactor("get", associationsResource.Resource, busy)
		associations := following(t, slowClient{client, func(ctx context.Context) {
			if !fail.Load() {
				<-ctx.Done()
			}
		}, func() {}}, time.Second)
		registry := prometheus.NewRegistry()
		handler, err := webhook.New(webhook.Config{
			Settings:        inject.Defaults(),
			ServiceAccounts: accounts,
			Associations:    associations,
			Metrics:         registry,
			Log:             slog.New(slog.DiscardHandler),
			Now:             time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range []struct{ account, identity string }{
			{"known", "container_credentials"},
			{"s", "sts_web_identity"},
			{"plain", "none"},
		} {
			for _, failing := range []bool{false, true} {
				fail.Store(failing)
				start := time.Now()
				var review admissionv1.AdmissionReview
				if err := json.Unmarshal(post(t, handler,
					reviewOf("v1",
						strings.Replace(pod, `"s"`, `"`+row.account+`"`, 1))).Body.Bytes(), &review); err != nil {
					t.Fatal(err)
				}
				got := review.Response
				warned := slices.ContainsFunc(got.Warnings, func(w string) bool {
					return strings.Contains(w, "did not say in time")
				})
				if !got.Allowed || got.AuditAnnotations["identity"] != row.identity || warned == (i == 0) {
					t.Errorf("%s: %+v", row.account, got)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("%s waited %s", row.account, took)
				}
			}
		}
		if got := counter(t, registry, "rolecall_webhook_associations_unread_total"); got != 4 {
			t.Errorf("%v counted, want 4", got)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := associations.Of(cancelled, inject.Name{Namespace: "n", ServiceAccount: "s"}); err == nil {
			t.Error("a review that was given up waits")
		}
		time.Sleep(time.Minute) // until the slow reads end
	})
}
