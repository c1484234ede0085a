package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
)

// refusal is an answer without a session. It is shared between all requests
// that waited for the same call, so it never changes.
type refusal struct {
	status int
	code   string
	// text is what the reference says in this case, word for word; advice one
	// sentence more of ours.
	text, advice string
	// plainStatus and plainText are the reference's, where ours differ.
	plainStatus int
	plainText   string
	class       class
	// upstream: the text names the upstream's request already.
	upstream   bool
	requestID  string
	retryAfter time.Duration
	limit      string // which limit was met
	// cause is what went wrong on the way to the upstream, for the log alone.
	cause string
}

// Error is for logs.
func (r *refusal) Error() string { return r.text }

// class says what a refusal means for the next attempt (spec podidentity §6.4).
type class int

const (
	final      class = iota // it stays refused
	perRequest              // final for this request, but not for the pod
	throttled               // later, and slower
	transient               // later
)

const maxUpstreamText = 2 << 10

func refuseHost(host string, allowed string) *refusal {
	return &refusal{
		status: http.StatusForbidden, code: "AccessDenied",
		text: fmt.Sprintf(
			"Access Denied. Called agent through invalid address, please use either %s address not %s", allowed,
			cut(host, 100),
		),
	}
}

func refuseEmpty() *refusal {
	return &refusal{
		status: http.StatusBadRequest,
		code:   "InvalidParameterException",
		text:   "Service account token cannot be empty",
		advice: "The SDK must send the content of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE in the header Authorization.",
	}
}

func refuseMalformed(detail string) *refusal {
	return &refusal{
		status: http.StatusBadRequest,
		code:   "InvalidTokenException",
		text:   "Service account token cannot be parsed: token is malformed: " + detail,
	}
}

func refuseTimes(code, detail string) *refusal {
	return &refusal{
		status: http.StatusBadRequest,
		code:   code,
		text:   "Service account token failed basic claim validations: " + detail,
	}
}

// refuseExpired names the end, since SDKs that read the token once are found by it.
func refuseExpired(expiry time.Time) *refusal {
	r := refuseTimes("ExpiredTokenException", "token is expired")
	r.advice = "It expired at " + expiry.UTC().Format(time.RFC3339) + ": read again the file that " +
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names, for each request. Kubelet replaces the token in it long before."
	return r
}

func refuseForeign(detail string) *refusal {
	return &refusal{
		status: http.StatusBadRequest,
		code:   "InvalidTokenException",
		text:   "Service account token is not for this service: " + detail,
	}
}

func refuseSignature(detail string) *refusal {
	return &refusal{
		status: http.StatusBadRequest,
		code:   "InvalidTokenException",
		text:   "Service account token cannot be verified: " + detail,
		advice: "The key of the cluster's issuer that the token names did not sign it.",
	}
}

func refuseLimit(limit string) *refusal {
	return &refusal{
		status:     http.StatusTooManyRequests,
		code:       "TooManyRequests",
		text:       "Too Many Requests",
		class:      throttled,
		retryAfter: time.Second,
		limit:      limit,
	}
}

func refuseSlow() *refusal {
	return &refusal{
		status:      http.StatusGatewayTimeout,
		code:        "ServiceUnavailableException",
		class:       transient,
		text:        "no answer from the upstream yet; the call goes on, ask again",
		plainStatus: http.StatusInternalServerError,
		plainText:   "[]",
	}
}

func refuseDraining() *refusal {
	return &refusal{
		status: http.StatusServiceUnavailable,
		code:   "ServiceUnavailableException",
		class:  transient,
		text:   "the agent is shutting down",
	}
}

// refuseUpstream turns a failed call into an answer.
func refuseUpstream(err error) *refusal {
	answer, answered := errors.AsType[*awsapi.Error](err)
	already, isRefusal := errors.AsType[*refusal](err)
	switch {
	case isRefusal:
		return already
	case answered:
		return refuseAnswer(answer)
	case errors.Is(err, awsapi.ErrUnusable):
		return refuseUnusable(
			"error getting credentials to cache: invalid response from server: " + strings.TrimPrefix(
				err.Error(), awsapi.ErrUnusable.Error()+": ",
			),
		)
	case errors.Is(err, awsapi.ErrNoCredentials):
		return &refusal{
			status:      http.StatusServiceUnavailable,
			code:        "ServiceUnavailableException",
			class:       transient,
			text:        "the upstream cannot be asked",
			plainStatus: http.StatusInternalServerError,
			plainText:   "[]",
			cause:       causeOf(err),
			advice: "The agent has no AWS credentials of its own: " +
				"check the hop limit of the instance metadata service, the node role, or the credentials file.",
		}
	default:
		return &refusal{
			status:      http.StatusServiceUnavailable,
			code:        "ServiceUnavailableException",
			class:       transient,
			cause:       causeOf(err),
			text:        "the upstream cannot be reached",
			plainStatus: http.StatusInternalServerError,
			plainText:   "[]",
		}
	}
}

// causeOf is what a call failed of, without the address, which the agent logs when it starts.
func causeOf(err error) string {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	return cut(err.Error(), maxUpstreamText)
}

func refuseUnusable(text string) *refusal {
	return &refusal{
		status:      http.StatusBadGateway,
		code:        "InternalServerException",
		class:       transient,
		text:        text,
		plainStatus: http.StatusInternalServerError,
	}
}

func refuseAnswer(answer *awsapi.Error) *refusal {
	fault := "client"
	switch {
	case answer.Code == "UnknownError":
		fault = "unknown"
	case answer.Status >= 500:
		fault = "server"
	}
	return &refusal{
		status: answer.Status,
		code:   answer.Code,
		class:  classify(answer.Code, answer.Status),
		text: fmt.Sprintf(
			"[%s]: (%s): %s, fault: %s", answer.RequestID, answer.Code, cut(answer.Message, maxUpstreamText), fault,
		),
		advice:     adviceFor(answer),
		upstream:   true,
		requestID:  answer.RequestID,
		retryAfter: answer.RetryAfter,
	}
}

// classes are the codes with a meaning of their own (spec podidentity §6.4).
var classes = map[string]class{
	"ResourceNotFoundException": final, "AccessDeniedException": final, "InvalidTokenException": final,
	"ExpiredTokenException":   final,
	"InvalidRequestException": perRequest, "InvalidParameterException": perRequest,
	"ThrottlingException": throttled, "Throttling": throttled, "TooManyRequestsException": throttled,
	"RequestLimitExceeded":    throttled,
	"InternalServerException": transient, "ServiceUnavailableException": transient,
}

func classify(code string, status int) class {
	known, found := classes[code]
	switch {
	case status == http.StatusForbidden:
		// The node's own credentials were refused: not a pod's fault, and no
		// reason to forget what pods have.
		return perRequest
	case found:
		return known
	case status == http.StatusTooManyRequests:
		return throttled
	case status >= 500:
		return transient
	default:
		return perRequest
	}
}

func adviceFor(answer *awsapi.Error) string {
	switch {
	case answer.Status == http.StatusForbidden:
		return "These are the node credentials of the agent, not the pod's: " +
			"check the node role, the region and the clock."
	case answer.Code == "ExpiredTokenException":
		return "Read again the file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names, for each request."
	case answer.Code == "InvalidTokenException":
		return "The token must be of this cluster, for the audience pods.eks.amazonaws.com, and of a pod that exists."
	case answer.Code != "AccessDeniedException":
		return ""
	// AWS's words do not say what to do; a broker's do.
	case strings.Contains(answer.Message, "eks-auth:AssumeRoleForPodIdentity"):
		return "The agent's own role must allow eks-auth:AssumeRoleForPodIdentity on the cluster."
	case strings.HasPrefix(answer.Message, "Unauthorized Exception!"):
		return "The pod's role must trust pods.eks.amazonaws.com with sts:AssumeRole and sts:TagSession, and the conditions " +
			"of that statement must be met: aws:SourceArn and aws:SourceAccount are those of the cluster, the request tags " +
			"those of the pod. `rolecall trust lint` finds what keeps this service account out."
	}
	return ""
}

// write sends it as the four members in which SDKs look for code and text, or
// as the reference does (spec podidentity §4.4, §4.5). id is this request's.
func (r *refusal) write(w http.ResponseWriter, id string, plain bool) int {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if r.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int((r.retryAfter+time.Second-1)/time.Second)))
	}
	if plain {
		status := firstSet(r.plainStatus, r.status)
		text := r.plainText
		if text == "" {
			text = r.text
		}
		http.Error(w, text, status)
		return status
	}
	message := r.text
	if !r.upstream {
		message += " (request " + id + ")"
	}
	if r.advice != "" {
		message += ". " + r.advice
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(struct {
		Code1    string `json:"code"`
		Message1 string `json:"message"`
		Code     string
		Message  string
	}{r.code, message, r.code, message}) // texts always encode
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(r.status)
	_, _ = w.Write(body.Bytes())
	return r.status
}

func firstSet(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

func cut(text string, limit int) string {
	if len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}

// maxNegatives bounds what is remembered of refused tokens.
const maxNegatives = 1000

// remember keeps for a moment what the upstream refused, so that a client which
// tries again at once, or a thousand that do, cost nothing.
func (a *Agent) remember(print fingerprint, r *refusal, now time.Time) {
	if keep := negativeTime(r); keep > 0 {
		a.refused.Put(print, r, now.Add(keep))
	}
}

// negativeTime: associations and policies become visible late, and SDKs try for
// about three seconds; a bad token stays bad (spec podidentity §7.4). Our own
// limits say nothing about a token.
func negativeTime(r *refusal) time.Duration {
	switch {
	case r.limit != "":
		return 0
	case r.code == "InvalidTokenException", r.code == "ExpiredTokenException":
		return 10 * time.Second
	case r.class == final:
		return time.Second
	}
	return 250 * time.Millisecond
}
