package server

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/token"
)

// Limits of a token's lifetime, kube-apiserver's own (spec issuer-and-sts
// §8.1).
const (
	minExpiration     = 600
	maxExpiration     = 1 << 32
	defaultExpiration = 3600
)

const maxRequestBytes = 64 << 10

// Tokens answers TokenRequests as kube-apiserver does at
// /api/v1/namespaces/NAMESPACE/serviceaccounts/NAME/token, for planes that have
// no API server. Anybody who shows the bearer token may ask for any service
// account's token, so it belongs to the plane's owner only. All fields are
// needed.
type Tokens struct {
	Issuer string
	Key    *token.Key
	Bearer credential.Secret
	// Exists says whether there is such a service account, and its UID.
	Exists func(namespace, name string) (uid string, found bool)
	// Pod finds the pods that tokens may be bound to.
	Pod func(namespace, name string) (BoundPod, bool)
	Now func() time.Time
	Log *slog.Logger
}

// BoundPod is what a token says of the pod it is bound to.
type BoundPod struct {
	UID            string
	ServiceAccount string
	Node           token.Reference
}

// NewBearer returns 32 random bytes in hex, for Tokens.Bearer.
func NewBearer() credential.Secret {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails, says its documentation
	return credential.NewSecret(hex.EncodeToString(random))
}

// Handler routes the one path there is.
func (t *Tokens) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", t.serve)
	return mux
}

func (t *Tokens) serve(w http.ResponseWriter, r *http.Request) {
	shown, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !isBearer || !t.Bearer.Equal(credential.NewSecret(shown)) {
		writeStatus(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
		return
	}
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	uid, found := t.Exists(namespace, name)
	if !found {
		writeStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound,
			`serviceaccounts "`+name+`" not found in namespace "`+namespace+`"`)
		return
	}
	request, err := decodeTokenRequest(w, r)
	if err != nil {
		writeStatus(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	claims := t.claims(namespace, name, uid, request)
	if code, reason, err := t.bind(claims, request.Spec.BoundObjectRef); err != nil {
		writeStatus(w, code, reason, err.Error())
		return
	}
	signed, err := token.Mint(t.Key, claims)
	if err != nil {
		t.Log.Error("token not signed", "error", err)
		writeStatus(w, http.StatusInternalServerError, metav1.StatusReasonInternalError,
			"the token could not be signed")
		return
	}
	t.Log.Info("token issued", obs.KeyNamespace, namespace, obs.KeyServiceAccount, name,
		"audiences", claims.Audiences, "expires", claims.Expiry, "token", signed.Fingerprint())
	request.Status = authenticationv1.TokenRequestStatus{
		Token:               signed.Reveal(),
		ExpirationTimestamp: metav1.NewTime(claims.Expiry),
	}
	writeJSON(w, http.StatusCreated, request)
}

func (t *Tokens) claims(namespace, name, uid string, request *authenticationv1.TokenRequest) *token.Claims {
	now := t.Now().Truncate(time.Second).UTC()
	claims := &token.Claims{
		Issuer:    t.Issuer,
		Subject:   token.ServiceAccountSubject(namespace, name),
		Audiences: request.Spec.Audiences,
		IssuedAt:  now, NotBefore: now,
		Expiry: now.Add(time.Duration(*request.Spec.ExpirationSeconds) * time.Second),
		ID:     uuid.NewString(),
		Workload: token.Workload{
			Namespace:      namespace,
			ServiceAccount: token.Reference{Name: name, UID: uid},
		},
	}
	if len(claims.Audiences) == 0 {
		claims.Audiences = []string{t.Issuer}
	}
	return claims
}

// bind ties the token to a pod, if one is asked for, as kube-apiserver does: it
// must exist, be the same one if a UID is given, and have the service account.
func (t *Tokens) bind(
	claims *token.Claims, bound *authenticationv1.BoundObjectReference,
) (int32, metav1.StatusReason, error) {
	if bound == nil {
		return 0, "", nil
	}
	namespace, account := claims.Workload.Namespace, claims.Workload.ServiceAccount.Name
	pod, found := t.Pod(namespace, bound.Name)
	switch {
	case !found:
		return http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Errorf("pods %q not found", bound.Name)
	case bound.UID != "" && string(bound.UID) != pod.UID:
		return http.StatusConflict, metav1.StatusReasonConflict, fmt.Errorf("the UID in the bound object reference "+
			"(%s) does not match the UID in record (%s)", bound.UID, pod.UID)
	case pod.ServiceAccount != account:
		return http.StatusBadRequest, metav1.StatusReasonBadRequest, fmt.Errorf("cannot bind token for "+
			"serviceaccount %q to pod running with different serviceaccount name", account)
	}
	claims.Workload.Pod = &token.Reference{Name: bound.Name, UID: pod.UID}
	if pod.Node.Name != "" {
		claims.Workload.Node = &pod.Node
	}
	return 0, "", nil
}

func decodeTokenRequest(w http.ResponseWriter, r *http.Request) (*authenticationv1.TokenRequest, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, errors.New("Content-Type must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		return nil, errors.New("the body is too large or was cut off")
	}
	var request authenticationv1.TokenRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, errors.New("the body is not a TokenRequest in JSON")
	}
	if request.APIVersion != "authentication.k8s.io/v1" || request.Kind != "TokenRequest" {
		return nil, errors.New("the body must be of apiVersion authentication.k8s.io/v1 and kind TokenRequest")
	}
	seconds := int64(defaultExpiration)
	if request.Spec.ExpirationSeconds != nil {
		seconds = *request.Spec.ExpirationSeconds
	}
	switch {
	case seconds < minExpiration:
		return nil, errors.New("spec.expirationSeconds: may not specify a duration less than 10 minutes")
	case seconds > maxExpiration:
		return nil, errors.New("spec.expirationSeconds: may not specify a duration larger than 2^32 seconds")
	}
	request.Spec.ExpirationSeconds = &seconds
	if bound := request.Spec.BoundObjectRef; bound != nil &&
		(bound.Kind != "Pod" || bound.APIVersion != "v1" || bound.Name == "") {
		return nil, errors.New("spec.boundObjectRef: only pods can be bound here")
	}
	return &request, nil
}

func writeStatus(w http.ResponseWriter, code int32, reason metav1.StatusReason, message string) {
	writeJSON(w, int(code), &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Message: message, Reason: reason, Code: code,
	})
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
