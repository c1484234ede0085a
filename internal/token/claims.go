package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Claims are the claims of a projected service-account token (spec
// issuer-and-sts §8.2). Times have whole seconds.
type Claims struct {
	Issuer    string
	Subject   string
	Audiences []string
	IssuedAt  time.Time
	NotBefore time.Time
	Expiry    time.Time
	ID        string // jti, a UUID
	Workload  Workload
}

// Workload is the claim "kubernetes.io": which objects the token stands for.
type Workload struct {
	Namespace      string     `json:"namespace,omitempty"`
	Node           *Reference `json:"node,omitempty"`
	Pod            *Reference `json:"pod,omitempty"`
	Secret         *Reference `json:"secret,omitempty"`
	ServiceAccount Reference  `json:"serviceaccount,omitzero"`
	// WarnAfter is the lifetime that was asked for, in seconds since the
	// epoch, if the API server extended it; otherwise 0.
	WarnAfter int64 `json:"warnafter,omitempty"`
}

// Reference names one object and its UID.
type Reference struct {
	Name string `json:"name"`
	UID  string `json:"uid,omitempty"`
}

// ServiceAccountSubject returns the sub claim of a service account.
func ServiceAccountSubject(namespace, name string) string {
	return subjectPrefix + namespace + ":" + name
}

// ParseServiceAccountSubject takes a sub claim apart. ok is false for anything
// but system:serviceaccount:NAMESPACE:NAME.
func ParseServiceAccountSubject(subject string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(subject, subjectPrefix)
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	return namespace, name, ok && namespace != "" && name != "" && !strings.Contains(name, ":")
}

const subjectPrefix = "system:serviceaccount:"

// wireClaims is the JSON form, members in the order kube-apiserver writes them.
type wireClaims struct {
	Audience  audience  `json:"aud,omitempty"`
	Expiry    *int64    `json:"exp,omitempty"`
	IssuedAt  *int64    `json:"iat,omitempty"`
	Issuer    string    `json:"iss,omitempty"`
	ID        string    `json:"jti,omitempty"`
	Workload  *Workload `json:"kubernetes.io,omitempty"`
	NotBefore *int64    `json:"nbf,omitempty"`
	Subject   string    `json:"sub,omitempty"`
}

// audience is always written as an array; a single string is accepted.
type audience []string

func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		*a = audience{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(text, &many); err != nil {
		return errors.New("aud is neither a string nor a list of strings")
	}
	*a = many
	return nil
}

func (c *Claims) wire() wireClaims {
	issued, notBefore, expiry := c.IssuedAt.Unix(), c.NotBefore.Unix(), c.Expiry.Unix()
	return wireClaims{
		Audience: c.Audiences, Expiry: &expiry, IssuedAt: &issued, Issuer: c.Issuer, ID: c.ID,
		Workload: &c.Workload, NotBefore: &notBefore, Subject: c.Subject,
	}
}

func (w *wireClaims) claims() (*Claims, error) {
	if w.Expiry == nil || w.IssuedAt == nil {
		return nil, errors.New("the claims exp and iat are required")
	}
	claims := &Claims{
		Issuer: w.Issuer, Subject: w.Subject, Audiences: w.Audience, ID: w.ID,
		IssuedAt: time.Unix(*w.IssuedAt, 0).UTC(), Expiry: time.Unix(*w.Expiry, 0).UTC(),
	}
	if w.NotBefore != nil {
		claims.NotBefore = time.Unix(*w.NotBefore, 0).UTC()
	}
	if w.Workload != nil {
		claims.Workload = *w.Workload
	}
	return claims, nil
}

// check reports claims that no issuer should sign.
func (c *Claims) check() error {
	switch {
	case c.Issuer == "":
		return errors.New("no issuer")
	case c.Subject == "":
		return errors.New("no subject")
	case len(c.Audiences) == 0:
		return errors.New("no audience")
	case c.IssuedAt.IsZero() || c.NotBefore.IsZero():
		return errors.New("no issue time")
	case !c.Expiry.After(c.IssuedAt):
		return fmt.Errorf("expires at %s, not after its issue at %s", c.Expiry.UTC().Format(time.RFC3339), c.IssuedAt.UTC().Format(time.RFC3339))
	}
	return nil
}
