package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	kjson "sigs.k8s.io/json"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

const (
	stored = `{"apiVersion":"rolecall.io/v1alpha1","kind":"PodIdentityAssociation","metadata":{"namespace":"n",` +
		`"name":"cart"},"spec":{"serviceAccountName":"cart","roleARN":"` + role + `"}}`
	broken = `{"apiVersion":"rolecall.io/v1alpha1","kind":"PodIdentityAssociation","metadata":{"namespace":"n",` +
		`"name":"cart"},"spec":{"serviceAccountName":"cart","roleARN":"` + role + `","sessionPolicy":"{"}}`
)

var federated = association.Bounds{Default: v1alpha1.Federated}

func newWrites(t testing.TB, writes *webhook.Writes, registry *prometheus.Registry) *webhook.Handler {
	t.Helper()
	handler, err := webhook.New(webhook.Config{
		Settings:        inject.Defaults(),
		ServiceAccounts: accounts,
		Writes:          writes,
		Metrics:         registry,
		Log:             slog.New(slog.DiscardHandler),
		Now:             time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func writeOf(operation, object, oldObject string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","name":"cart",` +
		`"namespace":"n","operation":"` + operation +
		`","kind":{"group":"rolecall.io","version":"v1alpha1","kind":"PodIdentityAssociation"},` +
		`"resource":{"group":"rolecall.io","version":"v1alpha1","resource":"podidentityassociations"},"object":` +
		object + `,"oldObject":` + oldObject + `}}`
}

func postWrite(t testing.TB, handler http.Handler, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, webhook.ValidatePath,
		strings.NewReader(body))
	request.Header.Set("Content-Type", contentType)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

func TestWrites(t *testing.T) {
	t.Parallel()
	const create = "CREATE"
	edit := func(text, from, to string) string {
		if !strings.Contains(text, from) {
			t.Fatalf("%s has no %s", text, from)
		}
		return strings.Replace(text, from, to, 1)
	}
	labelled := edit(stored, `"name"`, `"labels":{"a":"b"},"name"`)
	for _, row := range []struct {
		name, contentType, body string
		grants                  follow.Source[*grant.Set] // none if nil
		status                  int                       // 200 if 0
		allowed                 bool
		code                    int32 // of a refusal
		message, field          string
		warning, counted        string
	}{
		{name: "created", body: writeOf(create, stored, "null"), allowed: true, counted: "Allowed"},
		{
			name:    "created, dry run",
			body:    edit(writeOf(create, stored, "null"), `"uid"`, `"dryRun":true,"uid"`),
			allowed: true,
			counted: "Allowed",
		},
		{
			name:    "granted",
			body:    writeOf(create, stored, "null"),
			grants:  grants("n", role),
			allowed: true,
			counted: "Allowed",
		},
		{
			name:    "not granted",
			body:    writeOf(create, stored, "null"),
			grants:  grants("m", "*"),
			code:    403,
			field:   "spec.roleARN",
			message: "no RoleGrant lets n/cart use " + role + "; let a RoleGrant allow it",
			counted: "NotGranted",
		},
		{
			name:    "not granted, dry run",
			body:    edit(writeOf(create, stored, "null"), `"uid"`, `"dryRun":true,"uid"`),
			grants:  grants("m", "*"),
			code:    403,
			message: "no RoleGrant",
			counted: "NotGranted",
		},
		{
			name:    "policy",
			body:    writeOf(create, broken, "null"),
			code:    422,
			field:   "spec.sessionPolicy",
			message: "line 1",
			counted: "Invalid",
		},
		{
			name:    "policy without a role granted",
			body:    writeOf(create, broken, "null"),
			grants:  grants("m", "*"),
			code:    422,
			field:   "spec.sessionPolicy",
			counted: "Invalid",
		},
		{
			name:    "hint",
			body:    writeOf(create, edit(stored, `"serviceAccountName":"cart"`, `"serviceAccountName":"c*"`), "null"),
			code:    422,
			field:   "spec.serviceAccountName",
			message: "patterns need allowPatterns: true",
			counted: "Invalid",
		},
		{
			name:    "label",
			body:    writeOf("UPDATE", labelled, stored),
			grants:  grants("m", "*"),
			allowed: true,
			warning: "no RoleGrant lets n/cart use",
			counted: "AllowedWithWarnings",
		},
		{
			name:    "role",
			body:    writeOf("UPDATE", edit(stored, role, role+"2"), stored),
			grants:  grants("m", "*"),
			code:    403,
			message: role + "2",
			counted: "NotGranted",
		},
		{
			name:    "label of a broken one",
			body:    writeOf("UPDATE", edit(broken, `"name"`, `"labels":{"a":"b"},"name"`), broken),
			allowed: true,
			warning: "until that is fixed",
			counted: "AllowedWithWarnings",
		},
		{
			name:    "unknown fields are left to the API server",
			body:    writeOf(create, edit(stored, `"spec":{`, `"spec":{"later":true,`), "null"),
			allowed: true,
			counted: "Allowed",
		},
		{
			name:    "case counts",
			body:    writeOf(create, edit(stored, `"roleARN"`, `"rolearn"`), "null"),
			code:    422,
			field:   "spec.roleARN",
			counted: "Invalid",
		},
		{
			name: "the last of two counts for nobody else",
			body: writeOf(create,
				edit(stored, `"spec":`, `"Spec":{"roleARN":"arn:aws:iam::111122223333:role/other"},"spec":`), "null"),
			grants:  grants("n", role),
			allowed: true,
			counted: "Allowed",
		},

		{name: "deleted", body: writeOf("DELETE", "null", stored), grants: grants("m", "*"), allowed: true},
		{name: "connected", body: writeOf("CONNECT", "{}", "null"), allowed: true},
		{
			name:    "status",
			body:    edit(writeOf("UPDATE", broken, stored), `"operation"`, `"subResource":"status","operation"`),
			allowed: true,
		},
		{
			name: "other resource",
			body: edit(writeOf(create, broken, "null"), `"resource":"podidentityassociations"`,
				`"resource":"issuers"`),
			allowed: true,
		},
		{
			name: "resource of another group",
			body: edit(writeOf(create, broken, "null"), `"resource":{"group":"rolecall.io"`,
				`"resource":{"group":"example.com"`),
			allowed: true,
		},
		{
			name: "resource of another version",
			body: edit(writeOf(create, edit(stored, "v1alpha1", "v9"), "null"),
				`"resource":{"group":"rolecall.io","version":"v1alpha1"`,
				`"resource":{"group":"rolecall.io","version":"v9"`),
			code:    400,
			message: "want PodIdentityAssociation of rolecall.io/v1alpha1",
			counted: "BadReview",
		},
		{
			name:    "wrong kind",
			body:    writeOf(create, edit(stored, `"PodIdentityAssociation"`, `"RoleGrant"`), "null"),
			code:    400,
			message: `"RoleGrant"`,
			counted: "BadReview",
		},
		{
			name:    "no kind",
			body:    writeOf(create, edit(stored, `"kind":"PodIdentityAssociation",`, ""), "null"),
			code:    400,
			counted: "BadReview",
		},
		{
			name:    "no object",
			body:    writeOf(create, "null", "null"),
			code:    400,
			message: "object: it is missing",
			counted: "BadReview",
		},
		{
			name:    "no old object",
			body:    writeOf("UPDATE", stored, "null"),
			code:    400,
			message: "oldObject: it is missing",
			counted: "BadReview",
		},
		{
			name:    "old object of another kind",
			body:    writeOf("UPDATE", stored, `{"kind":"Pod"}`),
			code:    400,
			message: "oldObject",
			counted: "BadReview",
		},
		{
			name:    "object is a string",
			body:    writeOf(create, `"x"`, "null"),
			code:    400,
			message: "decode",
			counted: "BadReview",
		},
		{
			name:    "object of numbers",
			body:    writeOf(create, edit(stored, `"`+role+`"`, "7"), "null"),
			code:    400,
			message: "decode",
			counted: "BadReview",
		},
		{
			name:    "another namespace than the request's",
			body:    writeOf(create, edit(stored, `"namespace":"n"`, `"namespace":"m"`), "null"),
			code:    400,
			message: "its namespace",
			counted: "BadReview",
		},
		{
			name:    "no operation",
			body:    writeOf("", stored, "null"),
			code:    400,
			message: "operation",
			counted: "BadReview",
		},

		{
			name:   "v1beta1",
			body:   edit(writeOf(create, stored, "null"), "admission.k8s.io/v1", "admission.k8s.io/v1beta1"),
			status: 400,
		},
		{name: "no review", body: stored, status: 400},
		{name: "no request", body: `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, status: 400},
		{name: "empty", body: "", status: 400},
		{name: "garbage", body: "\x00\xff{", status: 400},
		{name: "cut off", body: writeOf(create, stored, "null")[:300], status: 400},
		{name: "yaml", contentType: "application/yaml", body: writeOf(create, stored, "null"), status: 415},
		{name: "too large", body: writeOf(create, stored, "null") + strings.Repeat(" ", 8<<20), status: 413},
	} {
		if row.grants == nil {
			row.grants = follow.Fixed[*grant.Set]{Content: grant.NewSet(nil)}
		}
		if row.contentType == "" {
			row.contentType = "application/json"
		}
		registry := prometheus.NewRegistry()
		response := postWrite(t, newWrites(t, &webhook.Writes{Bounds: federated, Grants: row.grants}, registry), row.contentType, row.body)
		if row.status != 0 {
			if response.Code != row.status {
				t.Errorf("%s: status %d: %s", row.name, response.Code, response.Body)
			}
			continue
		}
		got := answerOf(t, row.name, response)
		if got.Allowed != row.allowed || got.UID != "u1" || len(got.Patch) > 0 {
			t.Errorf("%s: %s", row.name, response.Body)
		}
		if !row.allowed && (got.Result.Code != row.code || got.Result.Status != "Failure" ||
			got.Result.Reason == "" || !strings.Contains(got.Result.Message, row.message)) {
			t.Errorf("%s: %+v", row.name, got.Result)
		}
		if row.field != "" && (got.Result.Details.Name != "cart" || got.Result.Details.Causes[0].Field != row.field ||
			!strings.HasPrefix(got.Result.Message, row.field+": ")) {
			t.Errorf("%s: %+v", row.name, got.Result)
		}
		if said := strings.Join(got.Warnings,
			""); (said != "") != (row.warning != "") || !strings.Contains(said, row.warning) {
			t.Errorf("%s: warnings %q", row.name, got.Warnings)
		}
		if counted := counter(t, registry,
			"rolecall_webhook_association_writes_total"); (counted == 1) != (row.counted != "") ||
			got.AuditAnnotations["association"] != row.counted {
			t.Errorf("%s: counted %v, audited %v", row.name, counted, got.AuditAnnotations)
		}
	}
}

func answerOf(t testing.TB, name string, response *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(response.Body.Bytes(),
		&review); err != nil || response.Code != http.StatusOK || review.Response == nil ||
		review.APIVersion != "admission.k8s.io/v1" || review.Kind != "AdmissionReview" ||
		response.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %v: %s", name, response.Code, err, response.Body)
	}
	return review.Response
}

// TestWritesOutOfBounds: what the operator does not allow is forbidden, with the field once.
func TestWritesOutOfBounds(t *testing.T) {
	t.Parallel()
	for field, spec := range map[string]string{
		"spec.mode":               `"mode":"BrokerRole"`,
		"spec.disableSessionTags": `"disableSessionTags":true`,
	} {
		object := strings.Replace(stored, `"spec":{`, `"spec":{`+spec+`,`, 1)
		handler := newWrites(t, &webhook.Writes{
			Bounds: association.Bounds{Default: v1alpha1.Federated, Choices: []association.Choice{}},
			Grants: grants("n", role),
		}, prometheus.NewRegistry())
		var review admissionv1.AdmissionReview
		body := postWrite(t, handler, "application/json", writeOf("CREATE", object, "null")).Body.Bytes()
		if err := json.Unmarshal(body, &review); err != nil || review.Response.Allowed ||
			review.Response.Result.Code != http.StatusForbidden ||
			review.Response.Result.Details.Causes[0].Field != field ||
			strings.Count(review.Response.Result.Message, field) < 1 ||
			strings.HasPrefix(review.Response.Result.Message, field+": "+field) {
			t.Errorf("%s: %s, %v", field, body, err)
		}
	}
}

// TestWritesUnread: before the grants are read there is no yes, and pods do not
// wait for them.
func TestWritesUnread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := follow.NewValue(&grant.Set{})
		handler := newWrites(t, &webhook.Writes{Bounds: federated, Grants: source}, prometheus.NewRegistry())
		if got := ready(t, handler); got != http.StatusServiceUnavailable {
			t.Errorf("ready: %d", got)
		}
		if response := postWrite(t, handler, "application/json",
			writeOf("CREATE", stored,
				"null")); response.Code != http.StatusServiceUnavailable ||
			!strings.Contains(response.Body.String(), "RoleGrants are not read yet") {
			t.Errorf("%d %s", response.Code, response.Body)
		}
		began := time.Now()
		if response := post(t, handler, reviewOf("v1", pod)); response.Code != http.StatusOK || time.Since(began) > 0 {
			t.Errorf("a pod: %d after %s", response.Code, time.Since(began))
		}
		source.MarkSynced()
		if got := ready(t, handler); got != http.StatusOK {
			t.Errorf("not ready: %d", got)
		}
		if response := postWrite(t, handler, "application/json",
			writeOf("CREATE", stored, "null")); !answerOf(t, "read", response).Allowed {
			t.Errorf("%s", response.Body)
		}
	})
}

// TestWritesNewest: a grant that was created a moment ago counts, a yes does not
// wait for anything, and grants that cannot be read again are not a yes.
func TestWritesNewest(t *testing.T) {
	t.Parallel()
	none, all := grants("m", "*"), grants("n", "*")
	for _, row := range []struct {
		name     string
		followed follow.Source[*grant.Set]
		newest   follow.Source[*grant.Set] // nil: it cannot be read
		object   string
		allowed  bool
		asked    int
	}{
		{"granted", all, none, stored, true, 0},
		{"granted now", none, all, stored, true, 1},
		{"not granted", none, none, stored, false, 1},
		{"not read", none, nil, stored, false, 1},
		{"invalid", none, all, broken, false, 0},
	} {
		asked := 0
		handler := newWrites(t, &webhook.Writes{
			Bounds: federated,
			Grants: row.followed,
			Newest: func(ctx context.Context) (*grant.Set, error) {
				asked++
				if _, bounded := ctx.Deadline(); !bounded {
					t.Errorf("%s: has no time limit", row.name)
				}
				if row.newest == nil {
					return nil, errors.New("not now")
				}
				return row.newest.Current(), nil
			},
		}, prometheus.NewRegistry())
		got := answerOf(t, row.name, postWrite(t, handler, "application/json", writeOf("CREATE", row.object, "null")))
		if got.Allowed != row.allowed || asked != row.asked {
			t.Errorf("%s: %+v, asked %d times", row.name, got, asked)
		}
	}
}

// TestWritesUnasked: without the flag there is no such route.
func TestWritesUnasked(t *testing.T) {
	t.Parallel()
	if response := postWrite(t, newHandler(t, accounts), "application/json",
		writeOf("CREATE", stored, "null")); response.Code != http.StatusNotFound {
		t.Errorf("%d %s", response.Code, response.Body)
	}
}

// FuzzWrites: whatever is posted, a yes to something written is one to an
// association that may be stored.
func FuzzWrites(f *testing.F) {
	f.Add(writeOf("CREATE", stored, "null"))
	f.Add(writeOf("CREATE", broken, "null"))
	f.Add(writeOf("UPDATE", broken, stored))
	f.Add(writeOf("DELETE", "null", stored))
	f.Add(writeOf("CREATE", strings.Replace(stored, `"cart"`, `"c*","allowPatterns":true`, 1), "null"))
	f.Add("{}")
	handler := newWrites(f, &webhook.Writes{Bounds: federated, Grants: grants("n", role)}, prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, body string) {
		response := postWrite(t, handler, "application/json", body)
		if response.Code == http.StatusBadRequest {
			return
		}
		got := answerOf(t, body, response)
		var asked admissionv1.AdmissionReview
		if err := kjson.UnmarshalCaseSensitivePreserveInts([]byte(body), &asked); err != nil {
			t.Fatal(err)
		}
		request := asked.Request
		if request == nil || !got.Allowed || request.Resource.Resource != "podidentityassociations" ||
			request.Resource.Group != "rolecall.io" || request.SubResource != "" ||
			request.Operation != admissionv1.Create {
			return
		}
		var a v1alpha1.PodIdentityAssociation
		if err := kjson.UnmarshalCaseSensitivePreserveInts(request.Object.Raw, &a); err != nil {
			t.Fatalf("allowed %s: %v", request.Object.Raw, err)
		}
		if err := association.Validate(&a,
			false); err != nil || a.Spec.RoleARN != role || a.Namespace != "n" ||
			a.Spec.TargetRoleARN != "" && a.Spec.TargetRoleARN != role {
			t.Fatalf("allowed %s: %v", request.Object.Raw, err)
		}
	})
}
