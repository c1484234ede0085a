package authenticator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/rawjson"
)

// The versions of TokenReview. API servers read the answer as the version that they asked
// in; who says none is answered in the older, as aws-iam-authenticator's clients are.
const (
	versionBeta = "authentication.k8s.io/v1beta1"
	version1    = "authentication.k8s.io/v1"
)

// review is a question.
type review struct {
	version string
	token   credential.Secret
}

var errTwice = errors.New("a member is repeated")

// readReview reads one JSON object and nothing after it. What it does not know is
// skipped; what is there twice is refused: another reader would see another token.
func readReview(body io.Reader) (*review, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	reader := rawjson.NewReader(text)
	if reader.Kind() != '{' {
		return nil, errors.New("it is not a JSON object")
	}
	asked := &review{version: versionBeta}
	var version, token string
	var seenVersion, seenSpec, seenToken bool
	err = reader.Object(func(name []byte) error {
		switch string(name) {
		case "apiVersion":
			return readOnce(reader, &seenVersion, &version)
		case "spec":
			if seenSpec {
				return errTwice
			}
			seenSpec = true
			return reader.Object(func(name []byte) error {
				if string(name) == "token" {
					return readOnce(reader, &seenToken, &token)
				}
				return reader.Skip()
			})
		}
		return reader.Skip()
	})
	if err != nil {
		return nil, err
	}
	if version == version1 {
		asked.version = version1
	}
	asked.token = credential.NewSecret(token)
	return asked, reader.End()
}

func readOnce(reader *rawjson.Reader, seen *bool, into *string) (err error) {
	if *seen {
		return errTwice
	}
	*seen = true
	*into, err = reader.String()
	return err
}

// answer is a TokenReview with a status.
type answer struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Metadata   struct{} `json:"metadata"`
	Spec       struct{} `json:"spec"`
	Status     status   `json:"status"`
}

type status struct {
	Authenticated bool     `json:"authenticated,omitempty"`
	User          userInfo `json:"user"`
	Error         string   `json:"error,omitempty"`
}

type userInfo struct {
	Username string   `json:"username,omitempty"`
	UID      string   `json:"uid,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Extra    *extra   `json:"extra,omitempty"`
}

// extra is what audit logs keep of who somebody is in AWS; the last is the name by which
// certificate signing requests know it.
type extra struct {
	AccessKeyID     [1]string `json:"accessKeyId"`
	ARN             [1]string `json:"arn"`
	CanonicalARN    [1]string `json:"canonicalArn"`
	PrincipalID     [1]string `json:"principalId"`
	SessionName     [1]string `json:"sessionName"`
	LongPrincipalID [1]string `json:"sigs.k8s.io/aws-iam-authenticator/principalId"`
}

func writeReview(w http.ResponseWriter, code int, asked *review, result status) {
	text, err := json.Marshal(answer{Kind: "TokenReview", APIVersion: asked.version, Status: result})
	if err != nil { // it is nothing but strings
		http.Error(w, "cannot write the answer", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n'))
}
