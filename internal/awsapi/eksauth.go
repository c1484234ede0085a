package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/internal/build"
	"github.com/rolecall/rolecall/internal/credential"
)

// The calls as errors name them; the second is a broker's only.
const (
	eksAuthOperation = "EKS Auth: AssumeRoleForPodIdentity"
	changesOperation = "broker: changes of associations"
)

// maxEKSAuthAnswer is far above any real answer, which has about 2 KiB.
const maxEKSAuthAnswer = 1 << 20

// PodSession is what EKS Auth, or a broker in its place, returns for a pod's
// token.
type PodSession struct {
	// Namespace and ServiceAccount are those that the service found in the
	// token.
	Namespace, ServiceAccount string
	// AssociationID is empty when the answer does not name the association.
	AssociationID string
	// Version is the association's generation if a broker returns it; 0 if the
	// answer has none, as AWS's never do.
	Version int64
	// RoleARN is the session's: arn:PARTITION:sts::ACCOUNT:assumed-role/ROLE/SESSION.
	RoleARN     string
	Credentials credential.AWS
	RequestID   string
}

// ErrUnusable says that the service answered, but with something that cannot be
// used: not JSON, fields missing, a redirect, far too long.
var ErrUnusable = errors.New("unusable answer")

// ErrNoCredentials says that this process's own AWS credentials could not be
// obtained, so that no call was made.
var ErrNoCredentials = errors.New("no credentials of our own")

// EKSAuth asks EKS Auth for sessions of pods.
//
// It does not use the SDK's client for the service: the
// caller must see each attempt, the answer must be bounded, and a redirect must
// not be followed with somebody's token in the body.
type EKSAuth struct {
	endpoint  string
	transport http.RoundTripper
	region    string
	// credentials sign the call; with bearer instead, nothing is signed. An empty
	// bearer token means a client certificate.
	credentials aws.CredentialsProvider
	bearer      func(context.Context) (credential.Secret, error)
	now         func() time.Time
}

// Endpoint is where calls are sent.
func (c *EKSAuth) Endpoint() string { return c.endpoint }

// Region is what calls are signed for; empty when they are not signed.
func (c *EKSAuth) Region() string { return c.region }

// Ready fetches the credentials that sign calls, or reads the bearer token, so
// that a later call does not wait for them. Its errors wrap ErrNoCredentials.
func (c *EKSAuth) Ready(ctx context.Context) error {
	var err error
	if c.bearer != nil {
		_, err = c.bearer(ctx)
	} else {
		_, err = c.credentials.Retrieve(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	return nil
}

// AssumeRoleForPodIdentity makes one attempt. What the service refuses is an
// *Error; other errors wrap ErrUnusable, ErrNoCredentials or the transport's.
func (c *EKSAuth) AssumeRoleForPodIdentity(
	ctx context.Context, cluster string, token credential.Secret,
) (*PodSession, error) {
	body, err := json.Marshal(map[string]string{"token": token.Reveal()})
	if err != nil {
		return nil, err
	}
	address := c.endpoint + "/clusters/" + url.PathEscape(cluster) + "/assume-role-for-pod-identity"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(userAgent, build.UserAgent())
	request.Header.Set("Accept", "application/json")
	if err := c.authenticate(ctx, request, body); err != nil {
		return nil, err
	}
	header, text, err := c.roundTrip(request, eksAuthOperation, eksAuthAttempt)
	if err != nil {
		return nil, err
	}
	session, err := readPodSession(text, header.Get("X-Amzn-Requestid"))
	if err == nil {
		session.Version = associationVersion(header.Get("X-Rolecall-Association-Version"))
	}
	return session, err
}

// roundTrip returns the header and the whole body of an answer of status 200. No
// redirect is followed: the request contains somebody's token.
func (c *EKSAuth) roundTrip(request *http.Request, operation string, limit time.Duration) (http.Header, []byte, error) {
	client := http.Client{
		Transport: c.transport, Timeout: limit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxEKSAuthAnswer+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(text) > maxEKSAuthAnswer:
		return nil, nil, fmt.Errorf("%w: longer than %d bytes", ErrUnusable, maxEKSAuthAnswer)
	case response.StatusCode == http.StatusOK:
		return response.Header, text, nil
	case response.StatusCode < 400:
		return nil, nil, fmt.Errorf("%w: status %d", ErrUnusable, response.StatusCode)
	}
	return nil, nil, readJSONError(operation, response, text)
}

func (c *EKSAuth) authenticate(ctx context.Context, request *http.Request, body []byte) error {
	if c.bearer != nil {
		token, err := c.bearer(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoCredentials, err)
		}
		if !token.IsZero() {
			request.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
		return nil
	}
	own, err := c.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	hash := sha256.Sum256(body)
	return v4.NewSigner().SignHTTP(ctx, own, request, hex.EncodeToString(hash[:]), "eks-auth", c.region, c.now())
}

// wirePodSession is the answer's form (spec podidentity §12.2).
type wirePodSession struct {
	Subject struct {
		Namespace      string `json:"namespace"`
		ServiceAccount string `json:"serviceAccount"`
	} `json:"subject"`
	PodIdentityAssociation struct {
		AssociationID string `json:"associationId"`
	} `json:"podIdentityAssociation"`
	AssumedRoleUser struct {
		ARN string `json:"arn"`
	} `json:"assumedRoleUser"`
	Credentials struct {
		AccessKeyID     string      `json:"accessKeyId"`
		SecretAccessKey string      `json:"secretAccessKey"`
		SessionToken    string      `json:"sessionToken"`
		Expiration      json.Number `json:"expiration"`
	} `json:"credentials"`
}

func readPodSession(text []byte, requestID string) (*PodSession, error) {
	var answer wirePodSession
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("%w: not a session in JSON", ErrUnusable)
	}
	keys := answer.Credentials
	// A fraction of a second is dropped: the session must not seem to live longer
	// than it does.
	expires, err := keys.Expiration.Float64()
	switch {
	case keys.AccessKeyID == "" || keys.SecretAccessKey == "" || keys.SessionToken == "" ||
		answer.AssumedRoleUser.ARN == "":
		return nil, fmt.Errorf("%w: credentials or assumed role empty", ErrUnusable)
	case err != nil || expires <= 0 || expires > maxEpoch:
		return nil, fmt.Errorf("%w: no expiry time", ErrUnusable)
	}
	return &PodSession{
		Namespace: answer.Subject.Namespace, ServiceAccount: answer.Subject.ServiceAccount,
		AssociationID: answer.PodIdentityAssociation.AssociationID, RoleARN: answer.AssumedRoleUser.ARN,
		Credentials: credential.AWS{
			AccessKeyID: keys.AccessKeyID, SecretKey: credential.NewSecret(keys.SecretAccessKey),
			SessionToken: credential.NewSecret(keys.SessionToken), Expires: time.Unix(int64(expires), 0).UTC(),
		},
		RequestID: requestID,
	}, nil
}

// maxEpoch is the last second of the year 9999, the last that RFC 3339 can
// express.
const maxEpoch = 253402300799

// readJSONError reads the JSON form of errors; spellings differ between AWS's own
// servers (spec podidentity §12.3).
func readJSONError(operation string, response *http.Response, text []byte) *Error {
	var body struct {
		Type    string `json:"__type"`
		Code    string `json:"code"`
		Message string `json:"message"` // encoding/json accepts Message for it too
	}
	_ = json.Unmarshal(text, &body) // what is not JSON has no code and no message
	code := firstOf(response.Header.Get("X-Amzn-ErrorType"), body.Type, body.Code, "UnknownError")
	code, _, _ = strings.Cut(code, ":")
	return &Error{
		Operation: operation, Code: code[strings.LastIndexByte(code, '#')+1:], Status: response.StatusCode,
		Message: body.Message, RequestID: requestID(response), RetryAfter: retryAfter(response),
	}
}

func requestID(response *http.Response) string { return response.Header.Get("X-Amzn-Requestid") }

// retryAfter reads the form in seconds, the only one that AWS sends.
func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 3600 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
