package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/association/admission"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/obs"
)

// ValidatePath is where associations that are written are decided about.
const ValidatePath = "/validate-associations"

// Writes is what PodIdentityAssociations are checked against when somebody
// writes them (spec podidentity §19.5, rows H21 and A17).
type Writes struct {
	// Bounds are what the operator lets associations choose.
	Bounds association.Bounds
	// Grants are followed. Until they have been read nothing may be written.
	Grants follow.Source[*grant.Set]
	// Newest reads the grants as the API server has them. It is asked before a
	// write is refused for lack of one: what is followed lags behind, and people
	// apply a grant and what it is for together.
	Newest func(ctx context.Context) (*grant.Set, error)
}

// newestTimeout is well within the five seconds that API servers wait, also after
// syncGrace.
const newestTimeout = time.Second

// Results of reviews of associations, as metrics and logs have them.
const (
	resultAllowed    = "Allowed"
	resultWarned     = "AllowedWithWarnings"
	resultInvalid    = "Invalid"
	resultNotGranted = "NotGranted"
	resultNotAllowed = "NotAllowed"
	resultBadReview  = "BadReview"
)

func (h *Handler) validate(w http.ResponseWriter, r *http.Request) {
	start := h.config.Now()
	code := h.serveWrite(w, r)
	h.metrics.observe(r, ValidatePath, code, h.config.Now().Sub(start))
}

func (h *Handler) serveWrite(w http.ResponseWriter, r *http.Request) int {
	body, code := readBody(w, r, nil)
	if code != http.StatusOK {
		return code
	}
	var review admissionv1.AdmissionReview
	// Case counts, as for later readers of the object.
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &review); err != nil ||
		review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Kind != "AdmissionReview" ||
		review.Request == nil {
		return fail(w, http.StatusBadRequest,
			"want an AdmissionReview of "+admissionv1.SchemeGroupVersion.String()+" with a request")
	}
	if missing := h.writes.wait(r); missing != "" {
		return fail(w, http.StatusServiceUnavailable, missing+" are not read yet")
	}
	ctx, cancel := context.WithTimeout(r.Context(), newestTimeout)
	defer cancel()
	grants, err := follow.Sure(ctx, h.config.Writes.Grants, 0, "")
	if err != nil {
		return fail(w, http.StatusServiceUnavailable, fmt.Sprintf("RoleGrants: %s: %s", errStill, err))
	}
	answer := admissionv1.AdmissionReview{
		TypeMeta: review.TypeMeta,
		Response: h.decideWrite(withRequest(r), grants, review.Request),
	}
	answer.Response.UID = review.Request.UID
	text, err := json.Marshal(&answer)
	if err != nil { // nothing in it cannot be
		return fail(w, http.StatusInternalServerError, "the answer could not be encoded")
	}
	w.Header()["Content-Type"] = jsonType
	_, _ = w.Write(text)
	return http.StatusOK
}

// What reviews of associations that are not granted may cost: each has the grants read
// again, which are all of a cluster's.
const (
	rereadRate, rereadBurst = 5, 10
	rereadsOfSource         = 2 // at a time
)

// newestGrants reads the grants when it is the turn of who asks.
func (h *Handler) newestGrants(ctx context.Context) (*grant.Set, error) {
	done, err := h.rereads.wait(ctx, sourceOf(ctx))
	if err != nil {
		return nil, err
	}
	defer done()
	return h.config.Writes.Newest(ctx)
}

// decideWrite answers a request. What is not about the spec of an association is
// none of our business.
func (h *Handler) decideWrite(
	ctx context.Context, known *grant.Set, request *admissionv1.AdmissionRequest,
) *admissionv1.AdmissionResponse {
	if !isWrite(request) {
		return &admissionv1.AdmissionResponse{Allowed: true}
	}
	old, a, err := readWrite(request)
	if err != nil {
		h.metrics.writes.WithLabelValues(resultBadReview).Inc()
		h.config.Log.Error("review of an association not understood", obs.KeyNamespace, request.Namespace,
			"name", request.Name, "error", err)
		return refuseWrite(resultBadReview, &metav1.Status{
			Reason:  metav1.StatusReasonBadRequest,
			Code:    http.StatusBadRequest,
			Message: err.Error(),
		})
	}
	rules := admission.Rules{Bounds: h.config.Writes.Bounds, Grants: known}
	warnings, err := rules.Decide(old, a)
	if isUngranted(err) && h.config.Writes.Newest != nil {
		ctx, cancel := context.WithTimeout(ctx, newestTimeout)
		defer cancel()
		if newest, failed := h.newestGrants(ctx); failed == nil {
			rules.Grants = newest
			warnings, err = rules.Decide(old, a)
		} else {
			h.config.Log.Warn("RoleGrants not read again, those known before are used", "error", failed)
		}
	}
	result := resultAllowed
	switch {
	case isUngranted(err):
		result = resultNotGranted
	case fault.KindOf(err) == fault.Denied:
		result = resultNotAllowed
	case err != nil:
		result = resultInvalid
	case len(warnings) > 0:
		result = resultWarned
	}
	h.metrics.writes.WithLabelValues(result).Inc()
	h.logWrite(request, a, result, warnings, err)
	if err != nil {
		return refuseWrite(result, statusOf(a, err))
	}
	return &admissionv1.AdmissionResponse{
		Allowed:          true,
		Warnings:         warnings,
		AuditAnnotations: map[string]string{"association": result},
	}
}

func isUngranted(err error) bool {
	_, ungranted := errors.AsType[*admission.NotGranted](err)
	return ungranted
}

func (h *Handler) logWrite(
	request *admissionv1.AdmissionRequest,
	a *v1alpha1.PodIdentityAssociation,
	result string,
	warnings []string,
	err error,
) {
	log := h.config.Log.With(obs.KeyNamespace, a.Namespace, "name", a.Name,
		obs.KeyServiceAccount, a.Spec.ServiceAccountName,
		"operation", string(request.Operation), "user", request.UserInfo.Username, "result", result)
	switch {
	case err != nil:
		log.Warn("association refused", obs.KeyReason, err.Error())
	case len(warnings) > 0:
		log.Warn("association written", obs.KeyReason, strings.Join(warnings, "; "))
	default:
		log.Info("association written")
	}
}

// isWrite reports whether a request is about the spec of an association, in
// whatever version.
func isWrite(request *admissionv1.AdmissionRequest) bool {
	return request.Resource.Group == v1alpha1.GroupVersion.Group &&
		request.Resource.Resource == "podidentityassociations" && request.SubResource == "" &&
		request.Operation != admissionv1.Delete && request.Operation != admissionv1.Connect
}

// readWrite returns the object and, of an update, the one it takes the place of.
func readWrite(request *admissionv1.AdmissionRequest) (old, a *v1alpha1.PodIdentityAssociation, err error) {
	if a, err = readAssociation(request, request.Object.Raw); err != nil {
		return nil, nil, fmt.Errorf("object: %w", err)
	}
	switch request.Operation { //nolint:exhaustive // the others have no object that could be decided about
	case admissionv1.Create:
		return nil, a, nil
	case admissionv1.Update:
		if old, err = readAssociation(request, request.OldObject.Raw); err != nil {
			return nil, nil, fmt.Errorf("oldObject: %w", err)
		}
		return old, a, nil
	}
	return nil, nil, fmt.Errorf("operation %.20q: want CREATE or UPDATE", request.Operation)
}

func readAssociation(request *admissionv1.AdmissionRequest, text []byte) (*v1alpha1.PodIdentityAssociation, error) {
	var a v1alpha1.PodIdentityAssociation
	if len(text) == 0 {
		return nil, errors.New("it is missing")
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &a); err != nil {
		return nil, fmt.Errorf("decode PodIdentityAssociation: %w", err)
	}
	wanted := v1alpha1.GroupVersion.WithKind("PodIdentityAssociation")
	switch {
	case a.GroupVersionKind() != wanted:
		return nil, fmt.Errorf("%.80q of %.80q: want %s of %s",
			a.Kind, a.APIVersion, wanted.Kind, wanted.GroupVersion())
	case a.Namespace != request.Namespace:
		return nil, fmt.Errorf("its namespace is %.80q, and the request's %.80q", a.Namespace, request.Namespace)
	}
	return &a, nil
}

func refuseWrite(result string, status *metav1.Status) *admissionv1.AdmissionResponse {
	status.Status = metav1.StatusFailure
	return &admissionv1.AdmissionResponse{Result: status, AuditAnnotations: map[string]string{"association": result}}
}

// statusOf is what an API server would say itself: of an invalid object with its
// field, which is all that kubectl shows of one.
func statusOf(a *v1alpha1.PodIdentityAssociation, err error) *metav1.Status {
	status := &metav1.Status{
		Reason: metav1.StatusReasonInvalid,
		Code:   http.StatusUnprocessableEntity,
		Details: &metav1.StatusDetails{
			Name:  a.Name,
			Group: v1alpha1.GroupVersion.Group,
			Kind:  "PodIdentityAssociation",
		},
	}
	cause := metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Message: err.Error()}
	if refusal, ok := errors.AsType[*association.Refusal](err); ok {
		cause.Field, cause.Message = refusal.Field, refusal.Message
	}
	if missing, ok := errors.AsType[*admission.NotGranted](err); ok {
		status.Reason, status.Code = metav1.StatusReasonForbidden, http.StatusForbidden
		cause.Type, cause.Field = metav1.CauseTypeForbidden, missing.Field
	}
	if chosen, ok := errors.AsType[*association.OutOfBounds](err); ok {
		status.Reason, status.Code = metav1.StatusReasonForbidden, http.StatusForbidden
		cause.Type, cause.Field, cause.Message = metav1.CauseTypeForbidden, chosen.Field, chosen.Message
	}
	if hints := fault.HintsOf(err); len(hints) > 0 {
		cause.Message += "; " + strings.Join(hints, "; ")
	}
	status.Details.Causes = []metav1.StatusCause{cause}
	status.Message = strings.TrimPrefix(cause.Field+": "+cause.Message, ": ")
	return status
}
