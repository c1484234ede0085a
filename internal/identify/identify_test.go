package identify_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/identify"
)

// signed is a token of an access key, different for each n.
func signed(t *testing.T, accessKey string, n int, at time.Time) credential.Secret {
	t.Helper()
	return presigned(t, accessKey, "eu-west-1", n, at)
}

// inRegion is one for another region's STS, of a key of its own.
func inRegion(t *testing.T, region string, n int) credential.Secret {
	t.Helper()
	return presigned(t, fmt.Sprint("AKIA", n), region, n, time.Now())
}

func presigned(t *testing.T, accessKey, region string, n int, at time.Time) credential.Secret {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		"https://sts."+region+".amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-K8s-Aws-Id", "prod")
	own := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: fmt.Sprint("secret", n)}
	empty := sha256.Sum256(nil)
	made, _, err := v4.NewSigner().PresignHTTP(
		t.Context(), own, request, hex.EncodeToString(empty[:]), "sts", region, at,
	)
	if err != nil {
		t.Fatal(err)
	}
	return callerid.Encode(made)
}

// forged is a token with another signature.
func forged(t *testing.T, token credential.Secret, n int) credential.Secret {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token.Reveal(), callerid.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), "X-Amz-Signature=")
	if !found {
		t.Fatalf("%s has no signature at its end", text)
	}
	return callerid.Encode(before + fmt.Sprintf("X-Amz-Signature=%064x", n))
}

// sts answers as it is told, and counts.
type sts struct {
	mu      sync.Mutex
	asked   []string // access keys
	err     error
	release chan struct{} // nil: at once
}

func (s *sts) ask(ctx context.Context, p *callerid.Presigned) (*callerid.Identity, error) {
	s.mu.Lock()
	s.asked = append(s.asked, p.AccessKeyID)
	release, err := s.release, s.err
	s.mu.Unlock()
	if release != nil {
		select {
		case <-release:
		case <-ctx.Done():
			return nil, p.Unreachable(ctx.Err())
		}
	}
	if err != nil {
		return nil, err
	}
	return &callerid.Identity{
		Kind:        callerid.User,
		ARN:         "arn:aws:iam::111122223333:user/" + p.AccessKeyID,
		AccessKeyID: p.AccessKeyID,
	}, nil
}

func (s *sts) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// world is an Identifier on the clock of a bubble.
type world struct {
	*identify.Identifier
	*sts
	mu      sync.Mutex
	results []identify.Result
}

func newWorld() *world {
	w := &world{sts: &sts{}}
	w.Identifier = identify.New(identify.Config{
		Policy: callerid.Policy{Partition: "aws", Regions: []string{"eu-west-1"}},
		Ask:    w.ask,
		Now:    time.Now,
		Observe: func(result identify.Result) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.results = append(w.results, result)
		},
	})
	return w
}

// last is what became of the last token.
func (w *world) last() identify.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.results[len(w.results)-1]
}

func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld()) })
}

// TestWordsOfSTSAreKept: yes for five minutes and never longer than the token, no for
// a second.
func TestWordsOfSTSAreKept(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		token := signed(t, "AKIA1", 1, time.Now())
		for _, step := range []struct {
			name  string
			after time.Duration
			asked int
			want  identify.Result
		}{
			{"first", 0, 1, identify.Verified},
			{"just before five minutes", 5*time.Minute - 1, 1, identify.Known},
			{"at five minutes", 1, 2, identify.Verified},
			{"in the twelfth minute", 7 * time.Minute, 3, identify.Verified},
			{"just before the token ends", 3*time.Minute - 1, 3, identify.Known},
			{"after the token ended", 2 * time.Second, 3, identify.Malformed},
		} {
			time.Sleep(step.after)
			who, err := w.Identify(t.Context(), token, "10.0.0.1")
			if w.count() != step.asked || w.last() != step.want || (err == nil) != (who != nil) {
				t.Errorf(
					"%s: %v %v, asked %d times, %s; want %d, %s", step.name, who, err, w.count(), w.last(), step.asked,
					step.want,
				)
			}
		}
	})
}

// TestRefusals have a result each, and those of STS are kept for a second.
func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want identify.Result
	}{
		{"STS denies", fault.New(fault.Denied, "no"), identify.Refused},
		{"STS calls it invalid", fault.New(fault.Invalid, "no"), identify.Refused},
		{"STS throttles", fault.New(fault.Throttled, "slow down"), identify.Throttled},
		{"STS is away", fault.New(fault.Unavailable, "away"), identify.Unavailable},
		{"nobody knows why", errors.New("odd"), identify.Unavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.err = row.err
				token := signed(t, "AKIA1", 1, time.Now())
				for i := range 3 {
					who, err := w.Identify(t.Context(), token, "10.0.0.1")
					refused, ok := errors.AsType[*identify.Error](err)
					if who != nil || !ok || refused.Result != row.want || !errors.Is(err, row.err) || w.count() != 1 {
						t.Fatalf("try %d: %v %v, asked %d times", i, who, err, w.count())
					}
				}
				time.Sleep(time.Second)
				w.err = nil
				if who, err := w.Identify(t.Context(), token, "10.0.0.1"); err != nil || who == nil || w.count() != 2 {
					t.Errorf("a second later: %v %v, asked %d times", who, err, w.count())
				}
			})
		})
	}
}

// TestOneQuestion: all who hold the same token at a time make one question, which the
// first to leave does not end, and which counts once against the access key.
func TestOneQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.release = make(chan struct{})
		token, other := signed(t, "AKIA1", 1, time.Now()), signed(t, "AKIA2", 1, time.Now())
		leaving, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := w.Identify(leaving, token, "10.0.0.1"); left <- err }()
		synctest.Wait()
		results := make(chan error, 20)
		for range 19 {
			go func() { _, err := w.Identify(t.Context(), token, "10.0.0.1"); results <- err }()
		}
		go func() { _, err := w.Identify(t.Context(), other, "10.0.0.1"); results <- err }()
		synctest.Wait()
		leave()
		if err := <-left; fault.KindOf(err) != fault.Unavailable || !errors.Is(err, context.Canceled) {
			t.Errorf("who left: %v", err)
		}
		close(w.release)
		for range 20 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if w.count() != 2 {
			t.Errorf("%d questions, want one for each token", w.count())
		}
	})
}

// TestNoTimeIsNoVerdict: that the first who asked had no more time says nothing
// about the token.
func TestNoTimeIsNoVerdict(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.release = make(chan struct{})
		token := signed(t, "AKIA1", 1, time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Identify(ctx, token, "10.0.0.1"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("without time: %v", err)
		}
		synctest.Wait()
		close(w.release)
		if _, err := w.Identify(t.Context(), token, "10.0.0.1"); err != nil {
			t.Errorf("with time: %v", err)
		}
	})
}

// TestQuestionsAreLimited by access key and address: a client that makes tokens up
// cannot flood STS, nor keep the key's owner elsewhere from being heard.
func TestQuestionsAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.err = fault.New(fault.Denied, "no")
		for n := range 50 {
			_, _ = w.Identify(t.Context(), signed(t, "AKIA1", n, time.Now()), "10.0.0.1")
		}
		if w.count() != 5 || w.last() != identify.Limited {
			t.Errorf("%d questions about one access key, the last %s", w.count(), w.last())
		}
		w.err = nil
		for i, row := range []struct {
			name, accessKey, from string
			want                  identify.Result
		}{
			{"the same key elsewhere", "AKIA1", "10.0.0.2", identify.Verified},
			{"another key there", "AKIA2", "10.0.0.1", identify.Verified},
			{"the same key there", "AKIA1", "10.0.0.1", identify.Limited},
		} {
			_, _ = w.Identify(t.Context(), signed(t, row.accessKey, 100+i, time.Now()), row.from)
			if w.last() != row.want {
				t.Errorf("%s: %s, want %s", row.name, w.last(), row.want)
			}
		}
	})
}

// TestRefusedPushNobodyOut: however many bad tokens there are, who is known stays so.
func TestRefusedPushNobodyOut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		good := signed(t, "AKIA1", 1, time.Now())
		if _, err := w.Identify(t.Context(), good, "10.0.0.1"); err != nil {
			t.Fatal(err)
		}
		w.err = fault.New(fault.Denied, "no")
		for n := range 20500 { // more than are remembered
			_, _ = w.Identify(t.Context(), forged(t, good, n), fmt.Sprint("address ", n))
		}
		if _, err := w.Identify(t.Context(), good, "10.0.0.1"); err != nil || w.last() != identify.Known {
			t.Errorf("after all the bad ones: %v, %s", err, w.last())
		}
	})
}

// TestNoTokenShows: neither an error nor what is observed has the token in it.
func TestNoTokenShows(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for _, raw := range []string{
			"", "k8s-aws-v1.", "k8s-aws-v1.AAAA", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
		} {
			_, err := w.Identify(t.Context(), credential.NewSecret(raw), "10.0.0.1")
			refused, ok := errors.AsType[*identify.Error](err)
			if !ok || refused.Result != identify.Malformed || len(raw) > len(callerid.Prefix) &&
				strings.Contains(err.Error(), raw) {
				t.Errorf("%q: %v", raw, err)
			}
		}
		if w.count() != 0 {
			t.Errorf("%d questions about what is not a token", w.count())
		}
	})
}
