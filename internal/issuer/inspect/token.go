package inspect

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/token"
)

// tolerance is how far STS lets clocks differ (spec issuer-and-sts §10.5).
const tolerance = 5 * time.Minute

// wanted is the file that a program shows to STS.
const wanted = "want the token of the file that AWS_WEB_IDENTITY_TOKEN_FILE names in the pod, " +
	"/var/run/secrets/eks.amazonaws.com/serviceaccount/token; or kubectl create token NAME --audience sts.amazonaws.com"

// token checks one token against everything else that was seen.
func (r *report) token(o Observation) {
	if o.Token == nil {
		return
	}
	text := func(name string) string {
		var value string
		_ = json.Unmarshal(o.Token.Claims[name], &value)
		return value
	}
	if text("iss") == "kubernetes/serviceaccount" {
		r.add(finding.Error, "token-of-secret", generic, wanted, "the token is a Secret's: it has neither audience nor "+
			"expiry, and its issuer is not a URL")
		return
	}
	if o.TokenBlanks {
		r.add(finding.Info, "token-blanks", notJWT, "printf %s TOKEN > FILE, without an end of the line",
			"blanks or an end of a line stand around the token: programs that do not take them off send them along")
	}
	if o.Token.Header.Critical {
		r.add(finding.Error, "token-header", notJWT, wanted, "the token's header has a crit member, which AWS refuses")
	}
	for _, claim := range []string{"iss", "sub", "aud", "iat", "exp"} {
		if _, found := o.Token.Claims[claim]; !found {
			r.add(finding.Error, "token-claim", "InvalidIdentityToken: Missing a required claim: "+claim,
				"kubectl create token NAME --audience sts.amazonaws.com makes one as a projected volume does; a "+
					"Secret's is not for STS", "the token has no "+claim)
		}
	}
	if issuer := text("iss"); issuer != o.Issuer {
		r.add(finding.Error, "token-issuer", generic,
			"rolecall issuer init --for DISTRIBUTION prints the settings: this issuer first, the present one second",
			fmt.Sprintf("the token is of issuer %q, not of %q", issuer, o.Issuer))
	}
	r.tokenTimes(o)
	r.tokenAudience(o)
	r.tokenKey(o)
}

const notJWT = "InvalidIdentityToken: The ID Token provided is not a valid JWT. (You may see this error if you sent " +
	"an Access Token)"

// seconds reads a time as STS does: digits in text are fine, fractions and null are not.
func seconds(raw json.RawMessage) (int64, bool) {
	text := strings.Trim(string(raw), `"`)
	if value, err := strconv.ParseInt(text, 10, 64); err == nil {
		return value, true
	}
	float, err := strconv.ParseFloat(text, 64)
	if err != nil || float != math.Trunc(float) || math.Abs(float) > 1<<53 || strings.HasPrefix(string(raw), `"`) {
		return 0, false
	}
	return int64(float), true
}

func (r *report) tokenTimes(o Observation) {
	at := map[string]int64{}
	for _, name := range []string{"iat", "exp", "nbf"} {
		raw, found := o.Token.Claims[name]
		if !found {
			continue
		}
		value, whole := seconds(raw)
		if !whole {
			r.add(finding.Error, "token-time", "InvalidIdentityToken: Invalid timestamp in token claims.", wanted,
				"the token's "+name+" is not a whole number of seconds")
			continue
		}
		at[name] = value
	}
	early, late := o.Now.Add(-tolerance).Unix(), o.Now.Add(tolerance).Unix()
	const clock = "timedatectl set-ntp true, on the node of the API server that signed it and here; then wait, or take " +
		"another token"
	if expiry, found := at["exp"]; found && expiry <= early {
		r.add(finding.Error, "token-expired", "ExpiredTokenException",
			"kubectl create token NAME --audience sts.amazonaws.com; programs must read the file again before each "+
				"exchange", "the token expired at "+moment(expiry))
	}
	if issued, found := at["iat"]; found && issued > late {
		r.add(finding.Error, "token-early", fmt.Sprintf("InvalidIdentityToken: Token issued in the future: %d", issued),
			clock, "the token was issued at "+moment(issued)+", which is "+ahead(issued, o.Now))
	}
	if from, found := at["nbf"]; found && from > late {
		r.add(finding.Error, "token-early", fmt.Sprintf("InvalidIdentityToken: Token not yet valid: current date/time %d "+
			"must be after or equal to the not-before date/time %d", late, from), clock,
			"the token is valid from "+moment(from)+", which is "+ahead(from, o.Now))
	}
}

func moment(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

func ahead(seconds int64, now time.Time) string {
	return time.Unix(seconds, 0).Sub(now).Round(time.Second).String() + " in the future; STS allows " + tolerance.String()
}

// audience is the one that counts at STS: azp, if the token has it, takes the place of aud.
func (r *report) audience(o Observation) (audience string, judged bool) {
	if raw, found := o.Token.Claims["azp"]; found {
		_ = json.Unmarshal(raw, &audience)
		return audience, true
	}
	raw, found := o.Token.Claims["aud"]
	if !found {
		return "", false
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil {
		if json.Unmarshal(raw, &audience) != nil {
			r.add(finding.Error, "token-audiences", notJWT, wanted, "the token's aud is neither a text nor a list of texts")
		}
		return audience, audience != ""
	}
	switch len(many) {
	case 0:
		r.add(finding.Error, "token-audiences", "InvalidIdentityToken: Claim is not allowed to be empty: aud", wanted,
			"the token has no audience")
		return "", false
	case 1:
		return many[0], true
	}
	const several = "InvalidIdentityToken: Token audience contains more than one audience while authorized party is " +
		"not present"
	if !slices.ContainsFunc(many, func(one string) bool { return !ofAPIServer(one, o) }) {
		r.ofAPIServer(several, strings.Join(many, " and "))
		return "", false
	}
	r.add(finding.Error, "token-audiences", several,
		"kubectl create token NAME --audience sts.amazonaws.com: project a token of one audience",
		"the token has several audiences: "+strings.Join(many, ", "))
	return "", false
}

func (r *report) tokenAudience(o Observation) {
	audience, judged := r.audience(o)
	if !judged || slices.Contains(o.Audiences, audience) {
		return
	}
	known, asked := false, false
	for _, provider := range o.Providers {
		asked = asked || provider.URL != ""
		known = known || slices.Contains(provider.ClientIDs, audience)
	}
	switch {
	case known:
	case ofAPIServer(audience, o):
		r.ofAPIServer(generic, audience)
	case audience == "pods.eks.amazonaws.com":
		r.add(finding.Error, "token-of-pod-identity", generic, wanted+"; programs of Pod Identity show theirs to the "+
			"agent at AWS_CONTAINER_CREDENTIALS_FULL_URI", "the token is for "+audience+": it is that of "+
			"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, for the Pod Identity agent and not for STS")
	case !asked:
		r.add(finding.Warning, "audience-unexpected", generic, wanted,
			"the token is for "+audience+", and tokens are expected to be for "+either(o.Audiences))
	}
	if known || ofAPIServer(audience, o) || audience == "pods.eks.amazonaws.com" {
		return
	}
	for _, provider := range o.Providers {
		if provider.URL != "" {
			r.add(finding.Error, "audience-unregistered", generic,
				"aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn "+provider.ARN+
					" --client-id "+audience,
				fmt.Sprintf("account %s: the provider accepts the audience %s, the token is for %s", provider.Account,
					either(provider.ClientIDs), audience))
		}
	}
}

func (r *report) ofAPIServer(aws, audience string) {
	r.add(finding.Error, "token-of-api-server", aws, wanted+". Do not register this audience with AWS: every pod's "+
		"default token would be good for its roles", "the token is for "+audience+": it is the API server's own, which a "+
		"pod has at /var/run/secrets/kubernetes.io/serviceaccount/token")
}

// ofAPIServer tells the audiences that API servers take for themselves: by default their
// issuers, Kubernetes' own name for them, and what some distributions add.
func ofAPIServer(audience string, o Observation) bool {
	host := strings.TrimPrefix(audience, "https://")
	host, _, _ = strings.Cut(host, "/")
	host, _, _ = strings.Cut(host, ":")
	if host == "kubernetes" || host == "kubernetes.default" || strings.HasPrefix(host, "kubernetes.default.svc") {
		return true
	}
	var issuer string
	_ = json.Unmarshal(o.Token.Claims["iss"], &issuer)
	same := func(url string) bool {
		return url != "" && strings.TrimSuffix(audience, "/") == strings.TrimSuffix(url, "/")
	}
	return same(issuer) || same(o.Issuer) || slices.Contains([]string{"api", "k3s", "rke2"}, audience)
}

func (r *report) tokenKey(o Observation) {
	keys, err := token.ReadJWKS(o.JWKS.Text)
	if publishedIDs(o) == nil || err != nil {
		return
	}
	if !token.SupportedAlgorithm(o.Token.Header.Algorithm) {
		r.add(finding.Error, "token-algorithm", "InvalidIdentityToken: The ID Token provided is not a valid JWT",
			"rolecall issuer rotate to an RSA key",
			fmt.Sprintf("the token is signed with %q, which AWS does not accept", o.Token.Header.Algorithm))
		return
	}
	at := slices.IndexFunc(keys, func(k token.PublicKey) bool { return k.ID == o.Token.Header.KeyID })
	switch {
	case at < 0:
		r.add(finding.Error, "token-key-unpublished", cannotRetrieve, "rolecall issuer publish",
			fmt.Sprintf("the token is signed with %q, which is not published", o.Token.Header.KeyID))
	case o.Token.VerifySignature(keys[at].Public) != nil:
		r.add(finding.Error, "token-signature", generic,
			"rolecall issuer publish --kubeconfig FILE: the key under the kid that it has",
			"the token's signature does not verify with the key published under its kid "+o.Token.Header.KeyID)
	}
}

// NotToken says what a text is that is not a token for STS; empty if it may be one. Nothing
// of the text is in it.
func NotToken(text string) string {
	bare := strings.TrimSpace(text)
	upper := strings.ToUpper(bare)
	parts := strings.Count(bare, ".") + 1
	switch {
	case bare == "":
		return "it is empty"
	case strings.HasPrefix(bare, "k8s-aws-v1."):
		return "it is a token for an EKS API server, as aws eks get-token prints: a signed call of GetCallerIdentity"
	case strings.Contains(bare, "-----BEGIN "):
		return "it is a key or a certificate in PEM"
	case strings.HasPrefix(bare, "{"), strings.HasPrefix(bare, "["):
		return "it is JSON: the token alone is wanted, as .status.token of a TokenRequest or an ExecCredential has it"
	case strings.HasPrefix(upper, "BEARER "):
		return "it begins with Bearer: the token alone is wanted"
	case len(bare) > 1 && strings.ContainsAny(bare[:1], `"'`):
		return "it is in quotes, which programs send along: the token alone is wanted"
	case strings.ContainsAny(bare, "\n\r"):
		return "it has several lines: the token alone is wanted, in one"
	case len(bare) >= 16 && len(bare) <= 32 && (strings.HasPrefix(bare, "AKIA") || strings.HasPrefix(bare, "ASIA")):
		return "it is the id of an access key"
	case strings.HasPrefix(bare, "IQoJ"), strings.HasPrefix(bare, "FwoG"), strings.HasPrefix(bare, "FQoG"):
		return "it is a session token of AWS credentials"
	case len(bare) == 40 && parts == 1:
		return "it may be a secret access key"
	case parts == 5:
		return "it has five parts: it is encrypted (JWE), and STS takes signed tokens only"
	case strings.HasPrefix(bare, "/") || strings.HasPrefix(bare, "./"):
		return "it is the path of a file: the file itself is wanted"
	}
	return ""
}

// Blanks reports whether blanks stand around a token, which programs send along.
func Blanks(text string) bool { return strings.TrimSpace(text) != text }
