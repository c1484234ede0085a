package plane

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/localaws"
)

const (
	callTimeout   = 10 * time.Second
	maxAnswerSize = 4 << 20
)

// Client does to a plane what an API server and a kubelet do: it has pods
// admitted and asks for their tokens.
type Client struct {
	endpoints *Endpoints
	http      *http.Client
}

// NewClient returns a client that trusts the plane's own authority only.
func NewClient(endpoints *Endpoints) *Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(endpoints.CA)
	return &Client{endpoints, &http.Client{
		Timeout:   callTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}},
	}}
}

// Alive reports whether the plane's local AWS answers.
func (c *Client) Alive(ctx context.Context) bool {
	answer, err := c.get(ctx, c.endpoints.AWS+"/_rolecall/health")
	return err == nil && answer.status == http.StatusOK
}

// Admission is what the webhook said of a pod.
type Admission struct {
	Patched  bool
	Pod      []byte // JSON, after the patch
	Patch    []byte // JSON Patch, empty if there is nothing to do
	Warnings []string
}

// Via is the way a pod gets its role.
type Via string

// The ways. ViaWebhook is what the webhook of a cluster chooses: Pod Identity for
// an account with an association, else web identity.
const (
	ViaWebhook     Via = ""
	ViaIRSA        Via = "irsa"
	ViaPodIdentity Via = "pod-identity"
)

// Admit has a pod (JSON) of a namespace admitted, as on CREATE, and applies the
// answer's patch. ViaIRSA no associations count, ViaPodIdentity also those that
// are held for running programs.
func (c *Client) Admit(ctx context.Context, namespace string, pod []byte, via Via) (*Admission, error) {
	uid := types.UID(uuid.NewString())
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: uid, Namespace: namespace, Operation: admissionv1.Create,
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   runtime.RawExtension{Raw: pod},
		},
	}
	var answer admissionv1.AdmissionReview
	address := c.endpoints.Webhook
	if via != ViaWebhook {
		address = strings.Replace(address, "/mutate", "/"+string(via)+"/mutate", 1)
	}
	if err := c.post(ctx, address, "", review, &answer); err != nil {
		return nil, fmt.Errorf("ask the webhook: %w", err)
	}
	response := answer.Response
	if response == nil || response.UID != uid {
		return nil, fault.New(fault.Internal, "the webhook answered another request than ours")
	}
	if !response.Allowed {
		return nil, fault.New(fault.Denied, "the webhook refused the pod: %s", response.Result.Message)
	}
	admission := &Admission{
		Pod:      pod,
		Patch:    response.Patch,
		Warnings: response.Warnings,
		Patched:  len(response.Patch) > 0,
	}
	if !admission.Patched {
		return admission, nil
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		return nil, fmt.Errorf("decode the webhook's patch: %w", err)
	}
	if admission.Pod, err = patch.Apply(pod); err != nil {
		return nil, fmt.Errorf("apply the webhook's patch: %w", err)
	}
	return admission, nil
}

// TokenRequest says which token is wanted. A zero Seconds and no Audience leave
// the choice to the issuer.
type TokenRequest struct {
	Namespace, ServiceAccount string
	Audience                  string
	Seconds                   int64
	PodName, PodUID           string
}

// Token asks for a service account's token, as a kubelet would, and returns it
// with its expiry.
func (c *Client) Token(ctx context.Context, want TokenRequest) (credential.Secret, time.Time, error) {
	request := authenticationv1.TokenRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenRequest"},
	}
	if want.Audience != "" {
		request.Spec.Audiences = []string{want.Audience}
	}
	if want.Seconds != 0 {
		request.Spec.ExpirationSeconds = &want.Seconds
	}
	if want.PodName != "" {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: want.PodName, UID: types.UID(want.PodUID),
		}
	}
	address := c.endpoints.Tokens + "/api/v1/namespaces/" + want.Namespace + "/serviceaccounts/" + want.ServiceAccount +
		"/token"
	var answer authenticationv1.TokenRequest
	if err := c.post(ctx, address, c.endpoints.Bearer.Reveal(), request, &answer); err != nil {
		return credential.Secret{}, time.Time{}, fmt.Errorf("ask for a token of %s/%s: %w", want.Namespace,
			want.ServiceAccount, err)
	}
	return credential.NewSecret(answer.Status.Token), answer.Status.ExpirationTimestamp.Time, nil
}

// CreatePod has the plane know an admitted pod (JSON), as an API server does
// after admission, and returns it with its UID.
func (c *Client) CreatePod(ctx context.Context, namespace string, pod []byte) (*corev1.Pod, error) {
	created := &corev1.Pod{}
	if err := c.post(ctx, c.podsURL(namespace), c.endpoints.Bearer.Reveal(), json.RawMessage(pod),
		created); err != nil {
		return nil, fmt.Errorf("create the pod: %w", err)
	}
	return created, nil
}

// DeletePod has the plane forget a pod.
func (c *Client) DeletePod(ctx context.Context, namespace, name string) error {
	if err := c.delete(ctx, c.podsURL(namespace)+"/"+name); err != nil {
		return fmt.Errorf("delete pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// hold has an account have an association, and returns who holds it: nobody if
// the account has one anyway.
func (c *Client) hold(ctx context.Context, namespace, account, role string) (holder string, err error) {
	var answer holdAnswer
	if err := c.post(ctx, c.holdersURL(namespace, account), c.endpoints.Bearer.Reveal(), holdRequest{role},
		&answer); err != nil {
		return "", fmt.Errorf("create the association: %w", err)
	}
	return answer.Holder, nil
}

// release lets the association go, unless others hold it.
func (c *Client) release(ctx context.Context, namespace, account, holder string) error {
	if err := c.delete(ctx, c.holdersURL(namespace, account)+"/"+holder); err != nil {
		return fmt.Errorf("delete the association %s/%s: %w", namespace, account, err)
	}
	return nil
}

// ServiceAccounts returns the accounts that the plane knows, as NAMESPACE/NAME.
func (c *Client) ServiceAccounts(ctx context.Context) ([]string, error) {
	address := c.endpoints.Tokens + accountsPath
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.endpoints.Bearer.Reveal())
	got, err := c.do(request)
	if err == nil && got.status >= http.StatusBadRequest {
		err = statusError(got)
	}
	var list corev1.ServiceAccountList
	if err == nil {
		err = json.Unmarshal(got.body, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("list the service accounts: %w", err)
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Namespace + "/" + list.Items[i].Name
	}
	return names, nil
}

func (c *Client) holdersURL(namespace, account string) string {
	return c.endpoints.Tokens + strings.NewReplacer("{namespace}", namespace, "{account}", account).Replace(holdersPath)
}

func (c *Client) delete(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.endpoints.Bearer.Reveal())
	got, err := c.do(request)
	if err == nil && got.status >= http.StatusBadRequest {
		err = statusError(got)
	}
	return err
}

func (c *Client) podsURL(namespace string) string {
	return c.endpoints.Tokens + "/api/v1/namespaces/" + namespace + "/pods"
}

// Diagnosis is the local AWS's reason for one refusal.
type Diagnosis struct {
	Action string `json:"action"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// Diagnose asks the local AWS why it refused the request of this id.
func (c *Client) Diagnose(ctx context.Context, requestID string) (Diagnosis, error) {
	answer, err := c.get(ctx, c.endpoints.AWS+"/_rolecall/decisions/"+requestID)
	if err != nil {
		return Diagnosis{}, fmt.Errorf("ask for the reason: %w", err)
	}
	var diagnosis Diagnosis
	if answer.status != http.StatusOK {
		return diagnosis, fault.New(fault.NotFound, "no reason is kept for request %s", requestID)
	}
	if err := json.Unmarshal(answer.body, &diagnosis); err != nil {
		return diagnosis, fmt.Errorf("decode the reason: %w", err)
	}
	return diagnosis, nil
}

// Refusals are the newest ones that the local AWS keeps, the newest first.
func (c *Client) Refusals(ctx context.Context, most int) ([]localaws.Decision, error) {
	var kept struct{ Decisions []localaws.Decision }
	_, err := c.refusals(ctx, "?limit="+strconv.Itoa(most), &kept)
	return kept.Decisions, err
}

// Refusal is that of the request of this id. found is false if none is kept.
func (c *Client) Refusal(ctx context.Context, id string) (refusal localaws.Decision, found bool, err error) {
	found, err = c.refusals(ctx, "/"+url.PathEscape(id), &refusal)
	return refusal, found, err
}

func (c *Client) refusals(ctx context.Context, which string, into any) (found bool, err error) {
	answer, err := c.get(ctx, c.endpoints.AWS+"/_rolecall/decisions"+which)
	if err != nil {
		return false, fmt.Errorf("ask for refusals: %w", err)
	}
	switch answer.status {
	case http.StatusOK:
	case http.StatusNotFound:
		return false, nil
	default:
		return false, fault.New(fault.Denied, "ask for refusals: HTTP %d", answer.status).
			Hint("local AWS tells reasons to programs of its own machine only, by a loopback address")
	}
	if err := json.Unmarshal(answer.body, into); err != nil {
		return false, fmt.Errorf("decode what was refused: %w", err)
	}
	return true, nil
}

type answer struct {
	status int
	body   []byte
}

func (c *Client) get(ctx context.Context, url string) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.do(request)
}

// post sends JSON and decodes the answer, or the Kubernetes Status that says
// why not.
func (c *Client) post(ctx context.Context, url, bearer string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	got, err := c.do(request)
	if err != nil {
		return err
	}
	if got.status >= http.StatusBadRequest {
		return statusError(got)
	}
	return json.Unmarshal(got.body, into)
}

func (c *Client) do(request *http.Request) (*answer, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "reach the plane: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerSize))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the plane's answer: %w", err)
	}
	return &answer{response.StatusCode, body}, nil
}

func statusError(got *answer) error {
	var status metav1.Status
	if err := json.Unmarshal(got.body, &status); err != nil || status.Message == "" {
		return fault.New(fault.Internal, "HTTP %d", got.status)
	}
	switch got.status {
	case http.StatusNotFound:
		return fault.New(fault.NotFound, "%s", status.Message)
	case http.StatusConflict:
		return fault.New(fault.Conflict, "%s", status.Message)
	}
	return fault.New(fault.Invalid, "%s", status.Message)
}
