package callerid

import (
	"net/url"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// Words are what a token says of itself: claims, which nobody has verified, and nothing
// that is secret.
type Words struct {
	Scheme, Host, Path string
	AccessKeyID        string
	// Scope is the rest of X-Amz-Credential: DATE/REGION/sts/aws4_request.
	Scope string
	// Signed is zero if the token does not say when.
	Signed time.Time
	// SignedHeaders are as they stand there.
	SignedHeaders string
	// IsSession says that a session's token is in it: the credentials are temporary.
	IsSession bool
}

// Read takes a token apart, also one that no server would accept. What Parse has against
// it is not said.
func Read(token credential.Secret) (Words, error) {
	text, err := decode(token.Reveal(), defaultMaxBytes)
	if err != nil {
		return Words{}, err
	}
	parsed, err := url.Parse(text)
	if err != nil {
		return Words{}, malformed("%s", reason(err))
	}
	w := Words{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.EscapedPath()}
	values, err := parameters(parsed.RawQuery)
	if err != nil {
		return w, err
	}
	w.AccessKeyID, w.Scope, _ = strings.Cut(values[keyAndScope].text, "/")
	w.SignedHeaders = values[signedHeaders].text
	w.IsSession = values[sessionToken].text != ""
	w.Signed, _ = time.Parse(dateFormat, values[date].text)
	return w, nil
}
