package workload

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/broker/refusal"
)

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// TestReviewsEnd: two seconds after it was asked, the API server is taken to be away.
func TestReviewsEnd(t *testing.T) {
	t.Parallel()
	const patience = 2 * time.Second
	asked := false
	before := time.Now()
	client := must(kubernetes.NewForConfig(&rest.Config{Transport: transport(
		func(r *http.Request) (*http.Response, error) {
			asked = true
			deadline, _ := r.Context().Deadline()
			if deadline.Before(before.Add(patience)) || deadline.After(time.Now().Add(patience)) {
				t.Errorf("asked at %s, to answer until %s", before, deadline)
			}
			return nil, errors.New("connection refused")
		},
	)}))
	_, err := (&Reviewer{Client: client}).review(t.Context(), signed(nil), audience)
	wantRefused(t, "away", err, refusal.Unavailable, "connection refused")
	if !asked {
		t.Errorf("the API server was not asked: %v", err)
	}
}
