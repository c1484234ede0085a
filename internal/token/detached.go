package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// SignDetached signs a payload that is encoded already, byte for byte as it
// will stand in the token, and returns the two parts around it. The header is
// alg, kid and typ "JWT", which is all that kube-apiserver accepts from an
// external signer (k8s.io/externaljwt). The payload must be unpadded base64url;
// its content is not checked.
func SignDetached(key *Key, payload string) (header, signature string, err error) {
	decoded, err := decodeBase64(payload)
	if err != nil {
		return "", "", fmt.Errorf("sign token with %s: the payload is not unpadded base64url: %w", key, err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: key.algorithm,
		Key:       jose.JSONWebKey{Key: key.private, KeyID: key.id},
	}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", "", fmt.Errorf("sign token with %s: %w", key, err)
	}
	signed, err := signer.Sign(decoded)
	if err != nil {
		return "", "", fmt.Errorf("sign token with %s: %w", key, err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return "", "", fmt.Errorf("sign token with %s: %w", key, err)
	}
	header, rest, _ := strings.Cut(compact, ".")
	between, signature, _ := strings.Cut(rest, ".")
	if between != payload {
		return "", "", errors.New("sign token: the payload was changed by encoding it")
	}
	return header, signature, nil
}

// DecodeSegment decodes one part of a compact token: unpadded base64url without
// line ends or stray bits, so that each text has one encoding.
func DecodeSegment(part string) ([]byte, error) { return decodeBase64(part) }

// EncodeSegment is the inverse of DecodeSegment.
func EncodeSegment(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }
