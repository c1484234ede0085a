package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/internal/credential"
)

// parameterAttempt bounds a call, maxParameterAnswer its answer: a value has at
// most 8 KiB.
const (
	parameterAttempt   = 10 * time.Second
	maxParameterAnswer = 1 << 16
)

// Parameters are those of SSM's parameter store, as one principal sees them. It
// reads nothing from the environment.
//
// It does not use the SDK's client for the service, which describes each shape of
// SSM's 150 operations when the process starts: 1.4 MB that every command would
// pay for. Only the demo makes these two calls.
type Parameters struct {
	endpoint, region string
	as               aws.Credentials
	now              func() time.Time
}

// NewParameters returns the parameters at an endpoint, for the principal of the
// credentials.
func NewParameters(endpoint, region string, as credential.AWS, now func() time.Time) *Parameters {
	return &Parameters{
		endpoint: endpoint,
		region:   region,
		now:      now,
		as: aws.Credentials{
			AccessKeyID:     as.AccessKeyID,
			SecretAccessKey: as.SecretKey.Reveal(),
			SessionToken:    as.SessionToken.Reveal(),
		},
	}
}

// Create makes a parameter with one tag; one that exists already is an *Error.
func (p *Parameters) Create(ctx context.Context, name, value, tag, tagValue string) error {
	_, err := p.call(ctx, "PutParameter", map[string]any{
		"Name":  name,
		"Value": value,
		"Type":  "String",
		"Tags":  []map[string]string{{"Key": tag, "Value": tagValue}},
	})
	return err
}

// Get returns a parameter's value.
func (p *Parameters) Get(ctx context.Context, name string) (string, error) {
	text, err := p.call(ctx, "GetParameter", map[string]any{"Name": name})
	if err != nil {
		return "", err
	}
	var answer struct {
		Parameter struct{ Value string }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", fmt.Errorf("%w: not a parameter in JSON", ErrUnusable)
	}
	return answer.Parameter.Value, nil
}

// call makes one attempt in the JSON 1.1 form of AWS's APIs.
func (p *Parameters) call(ctx context.Context, operation string, input any) ([]byte, error) {
	body, err := json.Marshal(input)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", "AmazonSSM."+operation)
	hash := sha256.Sum256(body)
	signer := v4.NewSigner()
	if err := signer.SignHTTP(ctx, p.as, request, hex.EncodeToString(hash[:]), "ssm", p.region, p.now()); err != nil {
		return nil, err
	}
	client := http.Client{Timeout: parameterAttempt}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxParameterAnswer))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, readJSONError("SSM: "+operation, response, text)
	}
	return text, nil
}
