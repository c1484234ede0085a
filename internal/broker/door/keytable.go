package door

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/sigv4"
)

// TableKey is whom an access key stands for: a node, a Kubernetes user, or both.
type TableKey struct {
	AccessKeyID string
	secret      credential.Secret
	Node        string
	User        string
	Groups      []string
}

// KeyTable are the access keys that may sign requests to the broker, by their
// ids. AWS's own keys cannot: AWS verifies nobody's signature for somebody
// else.
type KeyTable struct {
	*follow.File[map[string]*TableKey]
}

// OpenKeyTable reads the file, and follows it.
func OpenKeyTable(file string, log *slog.Logger) (*KeyTable, error) {
	keys, err := follow.OpenFile("table of access keys", file, parseKeyTable, log)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the table of access keys: %w", err).
			Hint(
				"want YAML: keys: [{accessKeyId: AKIA…, secretAccessKey: …, node: n1}]; " +
					"user and groups instead of node for the EKS API",
			)
	}
	return &KeyTable{keys}, nil
}

// NewKeyTable has one user, and follows no file.
func NewKeyTable(user string, key credential.AWS) *KeyTable {
	return &KeyTable{follow.Hold(
		map[string]*TableKey{key.AccessKeyID: {AccessKeyID: key.AccessKeyID, secret: key.SecretKey, User: user}},
	)}
}

// parseKeyTable refuses what it does not understand: a misspelt member must not
// make a key stand for nobody, or for more than was meant.
func parseKeyTable(text []byte) (map[string]*TableKey, error) {
	var table struct {
		Keys []struct {
			AccessKeyID     string   `json:"accessKeyId"`
			SecretAccessKey string   `json:"secretAccessKey"`
			Node            string   `json:"node"`
			User            string   `json:"user"`
			Groups          []string `json:"groups"`
		} `json:"keys"`
	}
	if yaml.UnmarshalStrict(text, &table) != nil {
		// The parser's own words quote what it read, secrets too.
		return nil, errors.New("not the YAML of a table of keys")
	}
	keys := map[string]*TableKey{}
	for i, one := range table.Keys {
		_, twice := keys[one.AccessKeyID]
		switch {
		case one.AccessKeyID == "" || one.SecretAccessKey == "":
			return nil, fmt.Errorf("keys[%d]: accessKeyId and secretAccessKey are required", i)
		case twice:
			return nil, fmt.Errorf("keys[%d]: the access key %s appears twice", i, one.AccessKeyID)
		case one.Node == "" && one.User == "":
			return nil, fmt.Errorf("keys[%d]: want a node or a user", i)
		case one.User == "" && len(one.Groups) > 0:
			return nil, fmt.Errorf("keys[%d]: groups want a user", i)
		}
		keys[one.AccessKeyID] = &TableKey{
			one.AccessKeyID, credential.NewSecret(one.SecretAccessKey), one.Node, one.User, one.Groups,
		}
	}
	return keys, nil
}

// signatureCodes are the signing layer's codes as REST-JSON services have them.
var signatureCodes = map[string]refusal.Code{
	"SignatureDoesNotMatch": refusal.InvalidSignature, "IncompleteSignature": refusal.IncompleteSigned,
	"MissingAuthenticationToken": refusal.MissingToken,
}

// Verify checks a request's signature and says whose key made it.
func (k *KeyTable) Verify(r *http.Request, body []byte, service string, now time.Time) (*TableKey, error) {
	if k == nil {
		return nil, refusal.New(refusal.UnrecognizedClient, "No access key is accepted here.")
	}
	signed, err := sigv4.Parse(r)
	if err != nil {
		return nil, signatureRefused(err)
	}
	key := k.Current()[signed.AccessKeyID]
	if key == nil || signed.Legacy || signed.Presigned || !signed.SessionToken.IsZero() {
		return nil, refusal.New(refusal.UnrecognizedClient, "The security token included in the request is invalid.")
	}
	if err := signed.Verify(r, body, key.secret, service, now); err != nil {
		return nil, signatureRefused(err)
	}
	return key, nil
}

func signatureRefused(err error) error {
	refused, ok := errors.AsType[*sigv4.Error](err)
	if !ok {
		return err
	}
	code, known := signatureCodes[refused.Code]
	if !known {
		code = refusal.InvalidSignature
	}
	return refusal.New(code, "%s", refused.Message)
}
