package pki_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/pki"
)

var lifetimes = pki.Lifetimes{Authority: 300 * time.Hour, Serving: 90 * time.Hour, Settle: time.Hour}

const (
	name = "hook.ns.svc"
	// authority is the name of authorities here.
	authority = "rolecall test"
)

// TestRingNeverStrandsAClient goes through many rotations in steps of half the settling
// time. At every moment a client that learnt of the bundle one settling time ago,
// or just now, trusts what is served now and what was served one ago.
func TestRingNeverStrandsAClient(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ring := &pki.Ring{}
	var history []*pki.Ring // the newest last
	authorities, servings := map[string]bool{}, map[string]bool{}
	for range 3000 {
		next, err := ring.Plan(now, lifetimes, authority, name)
		if err != nil {
			t.Fatal(err)
		}
		ring = recode(t, next.Published(now))
		history = append(history, ring)
		for _, bundle := range history[max(0, len(history)-2):] {
			for _, serving := range history[max(0, len(history)-2):] {
				verify(t, now, bundle, serving)
			}
		}
		authorities[string(ring.Authorities[len(ring.Authorities)-1].PEM())] = true
		servings[ring.Serving.Leaf.SerialNumber.String()] = true
		if len(ring.Authorities) > 2 {
			t.Fatalf("%d authorities", len(ring.Authorities))
		}
		now = now.Add(lifetimes.Settle / 2)
	}
	if len(authorities) < 6 || len(servings) < 20 {
		t.Errorf("%d authorities, %d certificates: they are not rotated", len(authorities), len(servings))
	}
}

func verify(t *testing.T, now time.Time, bundle, serving *pki.Ring) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle.Bundle()) {
		t.Fatal("an empty bundle")
	}
	if _, err := serving.Serving.Leaf.Verify(x509.VerifyOptions{
		Roots:       roots,
		DNSName:     name,
		CurrentTime: now,
	}); err != nil {
		t.Fatalf("at %s: %v", now, err)
	}
}

func recode(t *testing.T, ring *pki.Ring) *pki.Ring {
	t.Helper()
	text, err := ring.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := text.Decode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bundle(), ring.Bundle()) || !again.Serving.Leaf.Equal(ring.Serving.Leaf) ||
		!again.PublishedAt.Equal(ring.PublishedAt) {
		t.Fatal("a ring is not what was written")
	}
	return again
}

// TestRingWaitsForPublication: an authority that was not published signs
// nothing, however long it takes.
func TestRingWaitsForPublication(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ring := mustPlan(t, &pki.Ring{}, now).Published(now)
	now = now.Add(lifetimes.Authority * 2 / 3)
	ring = mustPlan(t, ring, now)
	for len(ring.Authorities) < 2 { // the serving certificate may be due first
		ring = mustPlan(t, ring, now)
	}
	old := ring.Authorities[0]
	later := now.Add(20 * lifetimes.Settle)
	if ring = mustPlan(t, ring, later); ring.Serving.Leaf.CheckSignatureFrom(mustParse(t, old.PEM())) != nil {
		t.Error("signed by an authority that was not published")
	}
	ring = mustPlan(t, ring.Published(later), later.Add(lifetimes.Settle))
	if ring.Serving.Leaf.CheckSignatureFrom(mustParse(t, old.PEM())) == nil {
		t.Error("not signed by the new authority after it settled")
	}
}

// TestRingRecovers: what lapsed or is for another name is replaced at once.
func TestRingRecovers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ring := mustPlan(t, &pki.Ring{}, now).Published(now)
	if same := mustPlan(t, ring, now.Add(time.Minute)); same != ring {
		t.Error("something is due after a minute")
	}
	later := now.Add(2 * lifetimes.Authority)
	replaced := mustPlan(t, ring, later)
	verify(t, later, replaced, replaced)
	renamed, err := ring.Plan(now, lifetimes, authority, "other.ns.svc")
	if err != nil || renamed.Serving.Leaf.VerifyHostname("other.ns.svc") != nil {
		t.Errorf("renamed: %v", err)
	}
}

// TestAuthoritiesAreCalled: a new authority has the name it is given. One with
// another name, from an earlier version of a server, is kept until it is due, and
// its successor has the new name.
func TestAuthoritiesAreCalled(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first, err := (&pki.Ring{}).Plan(now, lifetimes, "an earlier name", name)
	if err != nil {
		t.Fatal(err)
	}
	ring := recode(t, first.Published(now))
	if next := mustPlan(t, ring, now.Add(2*lifetimes.Settle)); next != ring {
		t.Error("another name forces a rotation")
	}
	for at := now; len(ring.Authorities) == 1; at = at.Add(lifetimes.Settle) {
		if at.Sub(now) > lifetimes.Authority {
			t.Fatal("the authority is not replaced")
		}
		ring = mustPlan(t, ring, at)
	}
	for i, want := range []string{"an earlier name", authority} {
		if got := mustParse(t, ring.Authorities[i].PEM()).Subject.CommonName; got != want {
			t.Errorf("authority %d is called %q, want %q", i, got, want)
		}
	}
	if _, err := (&pki.Ring{}).Plan(now, lifetimes, "", name); err == nil {
		t.Error("an authority without a name is made")
	}
}

func mustPlan(t *testing.T, ring *pki.Ring, now time.Time) *pki.Ring {
	t.Helper()
	next, err := ring.Plan(now, lifetimes, authority, name)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func mustParse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// TestDecodeRefuses: half a Secret, or somebody else's, is an error; the
// reference's, which has no authority, is to be replaced.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	ring := mustPlan(t, &pki.Ring{}, time.Now())
	other := mustPlan(t, &pki.Ring{}, time.Now())
	text, _ := ring.Encode()
	foreign, _ := other.Encode()
	for what, change := range map[string]func(e *pki.Encoded){
		"no keys":        func(e *pki.Encoded) { e.AuthorityKeys = nil },
		"another's keys": func(e *pki.Encoded) { e.AuthorityKeys = foreign.AuthorityKeys },
		"no serving":     func(e *pki.Encoded) { e.Certificate = nil },
		"another's key":  func(e *pki.Encoded) { e.Key = foreign.Key },
		"no such time":   func(e *pki.Encoded) { e.PublishedAt = "soon" },
		"junk of authority": func(e *pki.Encoded) {
			e.Authorities = bytes.ReplaceAll(e.Authorities, []byte("MII"),
				[]byte("AAA"))
		},
	} {
		changed := text
		change(&changed)
		if _, err := changed.Decode(); err == nil || !strings.HasPrefix(err.Error(), "decode ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if reference, err := (pki.Encoded{
		Certificate: text.Certificate,
		Key:         text.Key,
	}).Decode(); err != nil || len(reference.Authorities) != 0 {
		t.Errorf("the reference's secret: %v", err)
	}
	if err := (pki.Lifetimes{Authority: time.Hour, Serving: time.Hour, Settle: time.Hour}).Validate(); err == nil {
		t.Error("a certificate that lives no longer than it takes to settle is fine")
	}
}
