package identify

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
)

// TestFlightsFindWhatAnotherFound: a question about a token may be answered between the
// look into what is known and the beginning of the next question. Then STS is not asked
// again, and a no stays a no.
func TestFlightsFindWhatAnotherFound(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	raw := credential.NewSecret("token")
	print := key(sha256.Sum256([]byte(raw.Reveal())))
	i := New(Config{
		Now: func() time.Time { return now },
		Ask: func(context.Context, *callerid.Presigned) (*callerid.Identity, error) {
			t.Error("STS is asked")
			return nil, errors.New("asked")
		},
	})
	no := &Error{Refused, errors.New("no")}
	i.refused.Put(print, no, now.Add(time.Second))
	if who, err := i.share(t.Context(), print, &callerid.Presigned{}, "10.0.0.1"); who != nil || !errors.Is(err, no) {
		t.Errorf("refused meanwhile: %v, %v", who, err)
	}
	yes := &callerid.Identity{ARN: "arn:aws:iam::111122223333:user/ann"}
	i.accepted.Put(print, accepted{yes, now.Add(time.Minute)}, now.Add(time.Minute))
	if who, err := i.share(t.Context(), print, &callerid.Presigned{}, "10.0.0.1"); who != yes || err != nil {
		t.Errorf("accepted meanwhile: %v, %v", who, err)
	}
}

// TestKeysAreDigests: what is known of a token is found by its SHA-256 and by nothing that
// is a part of it, so that no cache holds a token.
func TestKeysAreDigests(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	i := New(Config{Now: func() time.Time { return now }, Observe: func(Result) {}})
	raw := credential.NewSecret("k8s-aws-v1.a-token-that-is-longer-than-a-digest-of-it")
	yes := &callerid.Identity{ARN: "arn:aws:iam::111122223333:user/ann"}
	i.accepted.Put(key(sha256.Sum256([]byte(raw.Reveal()))), accepted{yes, now.Add(time.Minute)}, now.Add(time.Minute))
	if who, err := i.Identify(t.Context(), raw, "10.0.0.1"); who != yes || err != nil {
		t.Errorf("by the digest of the token: %v, %v", who, err)
	}
}
