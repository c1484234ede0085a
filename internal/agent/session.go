package agent

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
)

// session is what a pod is answered, ready to be written. It never changes.
type session struct {
	// body is the JSON object, made once; length the value of Content-Length.
	body   credential.Secret
	length []string
	// issued is when it was received: the service does not say when it was made.
	issued, expires time.Time

	roleARN, associationID, keyTail string
	// version is the association's; 0 if the upstream does not say it.
	version int64
}

// wireSession is the form every SDK reads (spec podidentity §4.3). The order of
// the members is AWS's.
type wireSession struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	AccountID       string `json:"AccountId"`
	Expiration      string
}

func newSession(from *awsapi.PodSession, now time.Time) (*session, error) {
	account := ""
	if role, err := arn.Parse(from.RoleARN); err == nil && arn.IsAccount(role.Account) {
		account = role.Account
	}
	creds := from.Credentials
	text, err := wireSession{
		AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretKey.Reveal(), Token: creds.SessionToken.Reveal(),
		AccountID: account,
		// Whole seconds with Z: some parsers are strict about fractions.
		Expiration: creds.Expires.UTC().Truncate(time.Second).Format(time.RFC3339),
	}.encode()
	if err != nil {
		return nil, err
	}
	made := &session{
		issued:        now,
		expires:       creds.Expires,
		roleARN:       from.RoleARN,
		associationID: from.AssociationID,
		version:       from.Version,
		keyTail:       tail(creds.AccessKeyID),
	}
	made.setBody(credential.NewSecret(text))
	return made, nil
}

func (s *session) setBody(body credential.Secret) {
	s.body, s.length = body, []string{strconv.Itoa(len(body.Reveal()))}
}

// encode leaves / + = as they are.
func (w wireSession) encode() (string, error) {
	var body strings.Builder
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(w)
	return strings.TrimSpace(body.String()), err
}

func (s *session) life() time.Duration { return s.expires.Sub(s.issued) }

// fresh reports whether no SDK sees a reason to ask again at once: they want
// between 5 and 60 minutes (spec podidentity §7.3, §18.2).
func (s *session) fresh(now time.Time) bool {
	life := s.life()
	want := min(15*time.Minute, life/4)
	if life >= 90*time.Minute {
		want = min(time.Hour, life/4)
	}
	return s.expires.Sub(now) >= want
}

// refreshAt says when to renew in the background. Jitter, u in [0, 1), only
// ever makes it earlier: otherwise the cap would bunch the entries.
func (s *session) refreshAt(fraction float64, retention time.Duration, u float64) time.Time {
	regular := min(time.Duration(fraction*float64(s.life())), retention)
	return s.issued.Add(max(time.Duration(float64(regular)*(1-0.2*u)), time.Minute))
}

// tail is what may be logged of an access key's id.
func tail(id string) string { return id[max(0, len(id)-4):] }
