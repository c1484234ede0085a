package agent

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/token"
)

// peeked is what a token says of itself. Nothing of it is verified: it may
// refuse a token, and name one in a log; it never finds a cache entry unless
// the upstream, or a local key, has accepted that very token.
type peeked struct {
	expiry    time.Time
	notBefore time.Time // zero if it does not say
	workload  token.Workload
	subject   string
	issuer    string
	keyID     string
}

// clockSkew is how far ahead of ours the clock may be that wrote nbf and iat.
const clockSkew = time.Minute

// bearer returns the token of a header value: bare, as every SDK sends it, or
// behind "Bearer".
func bearer(header http.Header) string {
	value := strings.TrimSpace(header.Get("Authorization"))
	if len(value) > 7 && strings.EqualFold(value[:7], "bearer ") {
		value = strings.TrimSpace(value[7:])
	}
	return value
}

// peek reads a token without verifying it, and refuses what no service would
// accept (spec podidentity §4.2, steps 4 and 5). What it could read comes with the
// refusal, if that is about the token's times.
func peek(raw string, now time.Time) (*peeked, *refusal) {
	decoded, err := token.Decode(raw)
	if err != nil {
		return nil, refuseMalformed(strings.TrimPrefix(err.Error(), token.ErrMalformed.Error()+": "))
	}
	expiry, hasExpiry, err := numericDate(decoded.Claims["exp"])
	if err != nil {
		return nil, refuseMalformed("exp is not a number of seconds")
	}
	notBefore, hasNotBefore, err := numericDate(decoded.Claims["nbf"])
	if err != nil {
		return nil, refuseMalformed("nbf is not a number of seconds")
	}
	p := &peeked{expiry: expiry, keyID: decoded.Header.KeyID}
	// A token of another kind may lack these, or have them in another form:
	// what to make of it is up to the service.
	_ = json.Unmarshal(decoded.Claims["kubernetes.io"], &p.workload)
	_ = json.Unmarshal(decoded.Claims["sub"], &p.subject)
	_ = json.Unmarshal(decoded.Claims["iss"], &p.issuer)
	switch {
	case !hasExpiry:
		return p, refuseTimes("InvalidTokenException", "token is missing required claim: exp claim is required")
	case !now.Before(expiry):
		return p, refuseExpired(expiry)
	case hasNotBefore && now.Add(clockSkew).Before(notBefore):
		return p, refuseTimes("InvalidTokenException", "token is not valid yet")
	case hasNotBefore:
		p.notBefore = notBefore
	}
	return p, nil
}

// numericDate reads seconds since the epoch, fractions allowed (RFC 7519 §2).
func numericDate(text json.RawMessage) (at time.Time, found bool, err error) {
	if len(text) == 0 || string(text) == "null" {
		return time.Time{}, false, nil
	}
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return time.Time{}, false, err
	}
	// Beyond the year 9999 times no longer compare as one expects.
	seconds = math.Max(-maxSeconds, math.Min(seconds, maxSeconds))
	return time.Unix(int64(math.Floor(seconds)), 0), true, nil
}

const maxSeconds = 253402300799

// identity is which pod and account a token stands for, if it is accepted.
func (p *peeked) identity() identity {
	id := identity{namespace: p.workload.Namespace, serviceAccount: p.workload.ServiceAccount.Name}
	if p.workload.Pod != nil {
		id.pod, id.podUID = p.workload.Pod.Name, p.workload.Pod.UID
	}
	return id
}

// identity names a pod and its service account.
type identity struct{ namespace, serviceAccount, pod, podUID string }
