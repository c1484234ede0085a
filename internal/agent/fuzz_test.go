package agent_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
)

// FuzzToken: whatever is sent as a token, nobody panics, nothing but the pod's
// own token finds what the pod has, and the answer does not repeat the token.
func FuzzToken(f *testing.F) {
	now := time.Now()
	good := cart(now)
	good.life = 365 * 24 * time.Hour
	real := good.mint(f)
	for _, seed := range []string{
		"", "a", "a.b.c", "Bearer x", real, real + ".", "Bearer " + real, strings.ToUpper(real), real[:len(real)-1],
		encode(`{"alg":"none"}`) + "." + encode(
			`{"exp":9999999999,"nbf":-1e300,"kubernetes.io":{"pod":{"uid":"u1"}}}`,
		) + ".",
		encode(`{"alg":"ES256","kid":null}`) + "." + encode(`{"exp":1e999}`) + ".AA",
		encode(`{"alg":"ES256"}`) + "." + encode(`{"exp":9999999999,"kubernetes.io":[],"sub":7}`) + ".AA",
	} {
		f.Add(seed)
	}
	upstream := &fakeUpstream{answer: verifying(nil)}
	r := newRig(f, upstream, func(c *agent.Config) {
		unlimited(c)
		c.Limits.FailureRate, c.Limits.FailureBurst = 1e9, 1e9
	})
	if got := r.get(real); got.Code != http.StatusOK {
		f.Fatal(got.Body)
	}
	f.Fuzz(func(t *testing.T, text string) {
		before := upstream.count()
		got := r.get(text)
		bare := strings.TrimSpace(text)
		if len(bare) > 7 && strings.EqualFold(bare[:7], "bearer ") {
			bare = strings.TrimSpace(bare[7:])
		}
		switch {
		case bare == real:
		case got.Code == http.StatusOK && upstream.count() == before:
			t.Errorf("%q was served from the cache", text)
		case len(bare) > 40 && strings.Contains(got.Body.String(), bare):
			t.Errorf("the answer repeats the token: %s", got.Body)
		}
	})
}

// FuzzParseHost: what is accepted is one address, however it is written.
func FuzzParseHost(f *testing.F) {
	for _, seed := range []string{
		"169.254.170.23", "[fd00:ec2::23]:80", "fd00:ec2::23", "[::1", "::1]", "a:b:c", "[fe80::1%a]:1", ":80", "[]:1",
		"1.2.3.4:",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := agent.ParseHost(text)
		if err != nil {
			return
		}
		again, err := agent.ParseHost(address.String())
		if err != nil || again != address || address.Zone() != "" {
			t.Errorf("%q: %v, then %v (%v)", text, address, again, err)
		}
	})
}
