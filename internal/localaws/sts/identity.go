package sts

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/token"
)

// tolerance is how far a token's times may be off (spec issuer-and-sts §10.5).
const tolerance = 300 * time.Second

// webIdentity is a verified token, as far as AWS reads it.
type webIdentity struct {
	issuer, subject string
	audience        string
	original        []string // aud as it stands, when azp replaced it
	methods         []string // amr
	hasMethods      bool
	email           string
	tags            []policy.Tag
	transitive      []string
	sourceIdentity  string
	roleListed      bool // by the claim https://aws.amazon.com/roles
	provider        *account.Provider
	providerARN     string
}

// verify checks a token in the order of spec issuer-and-sts §10.3, steps 3 to
// 11, for a role.
func (s *Service) verify(q *service.Call, raw string, role arn.Role) (*webIdentity, error) {
	decoded, err := token.Decode(raw)
	if err != nil {
		return nil, invalidToken(notAJWT).Because("%s", err)
	}
	if decoded.Header.Critical || !token.SupportedAlgorithm(decoded.Header.Algorithm) {
		return nil, invalidToken(notAJWT).Because("the header has alg %q, or a crit member", decoded.Header.Algorithm)
	}
	claims := decoded.Claims
	for _, name := range []string{"iss", "sub", "aud", "iat", "exp"} {
		if _, found := claims[name]; !found {
			return nil, invalidToken("Missing a required claim: %s", name)
		}
	}
	identity := &webIdentity{}
	if identity.subject, err = subjectOf(claims["sub"]); err != nil {
		return nil, err
	}
	if json.Unmarshal(claims["iss"], &identity.issuer) != nil {
		return nil, invalidToken(genericRefusal).Because("the claim iss is not a string")
	}
	if err := identity.readAudience(claims); err != nil {
		return nil, err
	}
	if err := s.findProvider(identity, q.Accounts, role); err != nil {
		return nil, err
	}
	if err := s.checkTimes(claims, q.Time); err != nil {
		return nil, err
	}
	if err := s.checkSignature(q, decoded, identity.issuer); err != nil {
		return nil, err
	}
	_ = json.Unmarshal(claims["email"], &identity.email) // one that is not a string is ignored
	return identity, identity.readAWSClaims(claims, role)
}

// subjectOf: numbers are rendered as text; null makes AWS fail (recorded).
func subjectOf(raw json.RawMessage) (string, error) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil || value == nil {
		return "", wire.Errorf(
			http.StatusInternalServerError, "InternalFailure", "Unknown error validating third-party token",
		).Because("the claim sub is null")
	}
	if text, ok := value.(string); ok {
		return text, nil
	}
	if _, ok := value.(float64); ok {
		return string(raw), nil
	}
	return "", invalidToken(genericRefusal).Because("the claim sub is neither a string nor a number")
}

func (w *webIdentity) readAudience(claims map[string]json.RawMessage) error {
	many, err := textOrList(claims["aud"])
	if err != nil {
		return invalidToken(genericRefusal).Because("the claim aud is neither a string nor a list of strings")
	}
	if methods, found := claims["amr"]; found {
		if w.methods, err = textOrList(methods); err != nil {
			return invalidToken(genericRefusal).Because("the claim amr is neither a string nor a list of strings")
		}
		w.hasMethods = true
	}
	if azp, found := claims["azp"]; found {
		if json.Unmarshal(azp, &w.audience) != nil {
			return invalidToken(genericRefusal).Because("the claim azp is not a string")
		}
		w.original = many
		return nil
	}
	switch len(many) {
	case 0:
		return invalidToken("Claim is not allowed to be empty: aud")
	case 1:
		w.audience = many[0]
		return nil
	}
	return invalidToken("Token audience contains more than one audience while authorized party is not present")
}

func textOrList(raw json.RawMessage) ([]string, error) {
	var one string
	if json.Unmarshal(raw, &one) == nil && len(raw) > 0 && raw[0] == '"' {
		return []string{one}, nil
	}
	var many []string
	if err := json.Unmarshal(raw, &many); err != nil || len(raw) == 0 || raw[0] != '[' {
		return nil, errors.New("neither a string nor a list")
	}
	return many, nil
}

// findProvider: the provider is looked up in the role's account, exactly and
// with case.
func (s *Service) findProvider(w *webIdentity, accounts *account.Set, role arn.Role) error {
	w.providerARN = arn.OIDCProvider(role.Partition, role.Account, w.issuer).String()
	owner, found := accounts.Find(role.Account)
	if !found || role.Partition != owner.Partition {
		return s.Errors.noProvider(w.issuer).Because(
			"the role is in account %s of partition %s, which does not exist here, and a role's provider must be in "+
				"its own account",
			role.Account, role.Partition,
		)
	}
	return owner.View(func(state account.State) error {
		provider, err := state.Provider(arn.IssuerID(w.issuer))
		switch {
		case !strings.HasPrefix(w.issuer, "https://"), errors.Is(err, account.ErrNotFound):
			return s.Errors.noProvider(w.issuer).Because(
				"no OIDC provider of account %s is for the token's issuer %q; there is %s", owner.ID, w.issuer,
				knownIssuers(state),
			)
		case err != nil:
			return err
		case !slices.Contains(provider.ClientIDs, w.audience):
			return s.Errors.wrongAudience().Because(
				"the token's audience %q is not among the client ids %q of provider %s", w.audience, provider.ClientIDs,
				w.providerARN,
			)
		}
		w.provider = provider
		return nil
	})
}

func knownIssuers(state account.State) string {
	providers, err := state.Providers()
	if err != nil || len(providers) == 0 {
		return "none at all"
	}
	var known []string
	for _, provider := range providers {
		known = append(known, "https://"+provider.IssuerID)
	}
	return strings.Join(known, ", ")
}

// checkTimes is spec issuer-and-sts §10.5: digits in text are accepted,
// fractions and null are not.
func (s *Service) checkTimes(claims map[string]json.RawMessage, now time.Time) error {
	seconds := map[string]int64{}
	for _, name := range []string{"iat", "exp", "nbf"} {
		raw, found := claims[name]
		if !found {
			continue
		}
		text := strings.Trim(string(raw), `"`)
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			if float, ferr := strconv.ParseFloat(text, 64); ferr != nil || float != math.Trunc(float) ||
				math.Abs(float) > 1<<53 || strings.HasPrefix(string(raw), `"`) {
				return invalidToken("Invalid timestamp in token claims.").
					Because("the claim %s is not a whole number", name)
			}
			float, _ := strconv.ParseFloat(text, 64)
			value = int64(float)
		}
		seconds[name] = value
	}
	early, late := now.Add(-tolerance).Unix(), now.Add(tolerance).Unix()
	notBefore, hasNotBefore := seconds["nbf"]
	switch {
	case seconds["exp"] <= early:
		return s.Errors.expired(early, seconds["exp"])
	case seconds["iat"] > late:
		return invalidToken("Token issued in the future: %d", seconds["iat"])
	case hasNotBefore && notBefore > late:
		return invalidToken(
			"Token not yet valid: current date/time %d must be after or equal to the not-before date/time %d", late,
			notBefore,
		)
	}
	return nil
}

func (s *Service) checkSignature(q *service.Call, decoded *token.JWT, issuer string) error {
	if q.KeysUnreachable {
		return noKey(errors.New("fetching the issuer's keys fails, as was asked for"))
	}
	kind := "RSA"
	if strings.HasPrefix(decoded.Header.Algorithm, "ES") {
		kind = "EC"
	}
	key, err := s.Keys.Find(q.HTTP.Context(), issuer, decoded.Header.KeyID, decoded.Header.HasKeyID, kind)
	if err != nil {
		return noKey(err)
	}
	if key.unusable != "" {
		return invalidToken(genericRefusal).Because("%s", key.unusable)
	}
	if err := decoded.VerifySignature(key.public); err != nil {
		return s.Errors.badSignature().Because("%s, with the issuer's published key %q", err, decoded.Header.KeyID)
	}
	return nil
}

// context holds the condition keys of spec issuer-and-sts §14.4 that come from
// the token.
func (w *webIdentity) addContext(c *policy.Context) {
	prefix := w.provider.IssuerID
	c.Set(prefix+":sub", w.subject).Set(prefix+":aud", w.audience)
	c.Set("sts:RoleAuthorizedByIdp", strconv.FormatBool(w.roleListed))
	if w.original != nil {
		c.SetMulti(prefix+":oaud", w.original)
		c.Set(prefix+":azp", w.audience)
	}
	if w.hasMethods {
		c.SetMulti(prefix+":amr", w.methods)
	}
	if w.email != "" {
		c.Set(prefix+":email", w.email)
	}
}

// principal is the web identity as the trust policy sees it.
func (w *webIdentity) principal(accountID string) policy.Principal {
	return policy.Principal{Kind: policy.WebIdentity, ARN: w.providerARN, UserID: w.providerARN, Account: accountID}
}

// kept are the condition keys that stay in the context of the session's later
// calls (spec iam-policy §5.4).
func (w *webIdentity) kept() (single map[string]string, lists map[string][]string) {
	prefix := w.provider.IssuerID
	single = map[string]string{prefix + ":sub": w.subject, prefix + ":aud": w.audience}
	if w.hasMethods {
		lists = map[string][]string{prefix + ":amr": w.methods}
	}
	return single, lists
}
