// Package observe looks at an issuer: what each API server accepts and signs with, and
// what anybody finds who reads it as STS does.
//
// It changes nothing but for the tokens it asks for, keeps nothing, and judges nothing:
// that is left to rotation and to inspect.
package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// View is what was seen of an issuer at one moment.
type View struct {
	Now             time.Time
	Asked           []Asked
	Discovery, JWKS inspect.Fetched
}

// Look asks all API servers and reads what is published.
func Look(
	ctx context.Context, reader *Reader, url string, servers []*APIServer, probe plan.Probe, now func() time.Time,
) View {
	view := View{Asked: AskAll(ctx, servers, probe, now)}
	view.Discovery, view.JWKS = reader.Read(ctx, url)
	view.Now = now()
	return view
}

// Facts are what a rotation is decided by. Stored and Exchanges are the
// caller's.
func (v View) Facts() rotation.Facts {
	facts := rotation.Facts{Now: v.Now}
	facts.Published, facts.PublishedErr = inspect.PublishedIDs(v.Discovery, v.JWKS)
	for _, asked := range v.Asked {
		server := rotation.Server{
			Name:   asked.Name,
			Serves: document.IDs(asked.Keys),
			Signs:  asked.Signs,
			Skew:   asked.Skew,
		}
		if asked.Err != "" {
			server = rotation.Server{Name: asked.Name, Err: errors.New(asked.Err)}
		}
		facts.Servers = append(facts.Servers, server)
	}
	return facts
}

// Wanted returns the keys that a rotation wants published, taken from the API
// servers and from others that are known.
func (v View) Wanted(state rotation.State, known []token.PublicKey) ([]token.PublicKey, error) {
	served, err := Union(v.Asked)
	if err != nil {
		return nil, err
	}
	return plan.Keys(state, v.Facts(), served, known)
}

// Exchange offers to STS, by offer, the token that each API server has just
// signed, and reports whether there was one of a key from each and all were
// accepted. An error names the API server whose token was refused.
func (v View) Exchange(kid string, offer func(credential.Secret) error) (bool, error) {
	for _, asked := range v.Asked {
		if asked.Signs != kid || asked.Token.IsZero() {
			return false, nil
		}
	}
	for _, asked := range v.Asked {
		if err := offer(asked.Token); err != nil {
			return false, fmt.Errorf("that of API server %s: %w", asked.Name, err)
		}
	}
	return len(v.Asked) > 0, nil
}

// drainMargin is for clocks and for AWS's tolerance.
const drainMargin = 10 * time.Minute

// LongestToken returns how long tokens of the pods' projected volumes may live,
// with a margin; zero if there are none.
func (s *APIServer) LongestToken(ctx context.Context) (time.Duration, error) {
	var longest time.Duration
	options := metav1.ListOptions{Limit: 500}
	for {
		pods, err := s.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return 0, fmt.Errorf("look for the longest token: %w", err)
		}
		for i := range pods.Items {
			longest = max(longest, longestOf(&pods.Items[i].Spec))
		}
		if options.Continue = pods.Continue; options.Continue == "" {
			break
		}
	}
	if longest == 0 {
		return 0, nil
	}
	return longest + drainMargin, nil
}

// defaultSeconds is the lifetime of a projected token that names none.
const defaultSeconds = 3600

func longestOf(spec *corev1.PodSpec) time.Duration {
	var longest int64
	for _, volume := range spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ServiceAccountToken == nil {
				continue
			}
			seconds := int64(defaultSeconds)
			if source.ServiceAccountToken.ExpirationSeconds != nil {
				seconds = *source.ServiceAccountToken.ExpirationSeconds
			}
			longest = max(longest, seconds)
		}
	}
	return time.Duration(longest) * time.Second
}
