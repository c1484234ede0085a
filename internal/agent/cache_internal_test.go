package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// shelf is a cache of sessions that are renewed half-way and not given out in their last
// minute, with pods that may ask ten times at once.
func shelf() *cache {
	return newCache(10, policy{
		fraction: 0.5, retention: 3 * time.Hour, minServe: time.Minute, podRate: 1, podBurst: 10,
		rand: func() float64 { return 0 },
	}, func() {})
}

// tokenOf is a token of a pod that lives until a time, by its name.
func tokenOf(pod, name string, until time.Time) (fingerprint, *peeked, credential.Secret) {
	p := &peeked{expiry: until}
	p.workload.Namespace, p.workload.ServiceAccount.Name = "shop", "cart"
	p.workload.Pod = &token.Reference{Name: pod, UID: "uid of " + pod}
	return printOf(name), p, credential.NewSecret(name)
}

func printOf(name string) fingerprint {
	return fingerprint([]byte((name + string(make([]byte, 32)))[:32]))
}

// six is a session of six hours, from noon on.
func six(version int64) *session {
	return &session{issued: noon, expires: noon.Add(6 * time.Hour), associationID: "a", version: version}
}

// put stores a session for a pod that has a token of a day, and returns the entry.
func put(c *cache, pod string, s *session) *entry {
	print, p, raw := tokenOf(pod, pod, noon.Add(24*time.Hour))
	c.store(print, p, p.identity(), raw, s)
	e, _ := c.entries.Peek(keyOf(p.identity(), print))
	return e
}

// TestTimesOfTokensAndSessions: a token that was accepted counts until it ends and not
// before it begins, by a clock that may be a minute behind; a session until its last
// minute.
func TestTimesOfTokensAndSessions(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(p *peeked, s *session)
		found  bool
	}{
		{"a token that has a moment left", func(p *peeked, _ *session) { p.expiry = noon.Add(1) }, true},
		{"a token that ends now", func(p *peeked, _ *session) { p.expiry = noon }, false},
		{"a token that begins in a minute", func(p *peeked, _ *session) { p.notBefore = noon.Add(clockSkew) }, true},
		{"a token that begins later", func(p *peeked, _ *session) { p.notBefore = noon.Add(clockSkew + 1) }, false},
		{
			"a session with more than a minute left",
			func(_ *peeked, s *session) { s.expires = noon.Add(time.Minute + 1) }, true,
		},
		{"a session with a minute left", func(_ *peeked, s *session) { s.expires = noon.Add(time.Minute) }, false},
	} {
		c := shelf()
		print, p, raw := tokenOf("cart-0", "t", noon.Add(time.Hour))
		s := six(1)
		row.change(p, s)
		c.store(print, p, p.identity(), raw, s)
		if _, found := c.lookup(print, "t", noon); found != row.found {
			t.Errorf("%s: found %t, want %t", row.name, found, row.found)
		}
	}
}

// TestLastMinute: what nobody may be given any more is forgotten, but not under the
// hands of who renews it.
func TestLastMinute(t *testing.T) {
	t.Parallel()
	for _, renewing := range []bool{false, true} {
		c := shelf()
		e := put(c, "cart-0", six(1))
		e.renewing = renewing
		if _, found := c.lookup(printOf("cart-0"), "cart-0", e.session.expires.Add(-time.Minute)); found {
			t.Error("a session is given out in its last minute")
		}
		if kept := c.entries.Len() == 1; kept != renewing {
			t.Errorf("being renewed %t: kept %t", renewing, kept)
		}
	}
}

// TestWhenToTryAgain: only who waits for a renewal is told when the next one may be.
func TestWhenToTryAgain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*entry)
		told   bool
	}{
		{"all is well", func(*entry) {}, false},
		{"a renewal failed", func(e *entry) { e.failures = 1 }, true},
		{"the association changed", func(e *entry) { e.stale = true }, true},
	} {
		c := shelf()
		e := put(c, "cart-0", six(1))
		row.change(e)
		f, found := c.lookup(printOf("cart-0"), "cart-0", noon)
		if !found || f.retryAt.IsZero() == row.told || row.told && !f.retryAt.Equal(e.due) {
			t.Errorf("%s: found %t, told %s", row.name, found, f.retryAt)
		}
	}
}

// TestAskingTooOften: each look is charged to the pod, and said when it is too much.
func TestAskingTooOften(t *testing.T) {
	t.Parallel()
	c := shelf()
	put(c, "cart-0", six(1))
	limited := 0
	for range 12 {
		if f, found := c.lookup(printOf("cart-0"), "cart-0", noon); !found || f.limited {
			limited++
		}
	}
	if limited != 2 {
		t.Errorf("%d of 12 are too much, want 2", limited)
	}
}

// TestWhoseCredentials: a token that lacks a part of what credentials belong to has
// those of its own only.
func TestWhoseCredentials(t *testing.T) {
	t.Parallel()
	print := printOf("t")
	whole := identity{namespace: "shop", serviceAccount: "cart", pod: "cart-0", podUID: "u"}
	want := entryKey{podUID: "u", namespace: "shop", serviceAccount: "cart"}
	if got := keyOf(whole, print); got != want {
		t.Errorf("a pod's: %+v", got)
	}
	for name, remove := range map[string]func(*identity){
		"pod":             func(id *identity) { id.podUID = "" },
		"namespace":       func(id *identity) { id.namespace = "" },
		"service account": func(id *identity) { id.serviceAccount = "" },
	} {
		id := whole
		remove(&id)
		if got := keyOf(id, print); got != (entryKey{token: print}) {
			t.Errorf("without a %s: %+v", name, got)
		}
	}
}

// TestVerifiedTokens: a token that was verified here finds what its pod has, and
// nothing if it says something else of the pod.
func TestVerifiedTokens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*peeked)
		found  bool
	}{
		{"the pod's next", func(*peeked) {}, true},
		{"of no pod", func(p *peeked) { p.workload.Pod = nil }, false},
		{"of another pod", func(p *peeked) { p.workload.Pod.UID = "other" }, false},
		{"of the pod by another name", func(p *peeked) { p.workload.Pod.Name = "card-0" }, false},
	} {
		c := shelf()
		put(c, "cart-0", six(1))
		print, p, raw := tokenOf("cart-0", "next", noon.Add(25*time.Hour))
		row.change(p)
		if _, found := c.link(print, p, raw, noon); found != row.found {
			t.Errorf("%s: found %t, want %t", row.name, found, row.found)
		}
		if _, found := c.lookup(print, "next", noon); found != row.found {
			t.Errorf("%s, again: found %t, want %t", row.name, found, row.found)
		}
	}
	// A token of no pod has an entry of its own, which only the upstream can give.
	c := shelf()
	print, p, raw := tokenOf("cart-0", "alone", noon.Add(time.Hour))
	p.workload.Pod = nil
	c.store(print, p, p.identity(), raw, six(1))
	if _, found := c.link(print, p, raw, noon); found {
		t.Error("a token of no pod is extended by local keys")
	}
}

// TestNewerTokens: the token that lives longest is the one to renew with. One that is
// newer makes a renewal that failed due again, unless one is under way.
func TestNewerTokens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		until    time.Time
		failures int
		renewing bool
		kept     string
		due      bool
	}{
		{"newer, and all was well", noon.Add(24*time.Hour + 1), 0, false, "next", false},
		{"newer, after a failure", noon.Add(24*time.Hour + 1), 1, false, "next", true},
		{"newer, after a failure, while it is renewed", noon.Add(24*time.Hour + 1), 1, true, "next", false},
		{"as old, after a failure", noon.Add(24 * time.Hour), 1, false, "cart-0", false},
	} {
		c := shelf()
		e := put(c, "cart-0", six(1))
		e.failures, e.renewing = row.failures, row.renewing
		print, p, raw := tokenOf("cart-0", "next", row.until)
		c.link(print, p, raw, noon)
		if got := e.token.Reveal(); got != row.kept || e.tokenPrint != printOf(row.kept) {
			t.Errorf("%s: %s is kept, want %s", row.name, got, row.kept)
		}
		if due := e.due.Equal(noon); due != row.due {
			t.Errorf("%s: due at %s", row.name, e.due)
		}
	}
}

// TestRestored: an entry of the agent before this one has no token until its pod asks;
// then it can be renewed at once.
func TestRestored(t *testing.T) {
	t.Parallel()
	c := shelf()
	e := put(c, "cart-0", six(1))
	e.token, e.tokenExpiry, e.tokenPrint = credential.Secret{}, time.Time{}, fingerprint{}
	late := e.due
	if picked := c.due(late, 10, func(string) bool { return true }); len(picked) != 0 {
		t.Error("renewed without a token")
	}
	if _, found := c.lookup(printOf("cart-0"), "cart-0", late); !found || e.token.Reveal() != "cart-0" {
		t.Errorf("found %t, with token %q", found, e.token.Reveal())
	}
	if picked := c.due(late, 10, func(string) bool { return true }); len(picked) != 1 {
		t.Error("not renewed when the token is there")
	}
	other, p, raw := tokenOf("cart-0", "other", noon.Add(time.Hour))
	c.store(other, p, p.identity(), raw, six(1))
	if _, found := c.lookup(other, "other", noon); !found || e.token.Reveal() != "cart-0" {
		t.Errorf("found %t; the older token takes the place of the newer: %q", found, e.token.Reveal())
	}
}

// TestNews: what became of an association decides about sessions by their version,
// whether they were there before the news came or come after it.
func TestNews(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		has         int64 // the session's version
		news        awsapi.AssociationChange
		kept, stale bool
	}{
		{"of the same version", 2, awsapi.AssociationChange{Version: 2}, true, false},
		{"of an older version", 1, awsapi.AssociationChange{Version: 2}, true, true},
		{"of a newer version", 3, awsapi.AssociationChange{Version: 2}, true, false},
		{"deleted", 2, awsapi.AssociationChange{Gone: true}, false, false},
		{"paused by a later version", 1, awsapi.AssociationChange{Gone: true, Version: 2}, false, false},
		{"paused by this version", 2, awsapi.AssociationChange{Gone: true, Version: 2}, false, false},
		{"paused before", 3, awsapi.AssociationChange{Gone: true, Version: 2}, true, false},
		{"of somebody else's", 1, awsapi.AssociationChange{AssociationID: "b", Gone: true}, true, false},
	} {
		if row.news.AssociationID == "" {
			row.news.AssociationID = "a"
		}
		before := shelf()
		e := put(before, "cart-0", six(row.has))
		dropped, stale := before.changed([]awsapi.AssociationChange{row.news}, noon.Add(time.Hour))
		if (dropped == 0) != row.kept || (stale == 1) != row.stale || e.stale != row.stale ||
			(before.entries.Len() == 1) != row.kept {
			t.Errorf("%s: %d dropped, %d stale", row.name, dropped, stale)
		}
		if due := e.due.Equal(noon.Add(time.Hour)); due != row.stale {
			t.Errorf("%s: due at %s", row.name, e.due)
		}

		after := shelf()
		after.changed([]awsapi.AssociationChange{row.news}, noon)
		switch e := put(after, "cart-0", six(row.has)); {
		case (e != nil) != row.kept:
			t.Errorf("%s, before the session: kept %t", row.name, e != nil)
		case e != nil && (e.stale != row.stale || e.due.Equal(noon.Add(staleRetry)) != row.stale):
			t.Errorf("%s, before the session: stale %t, due at %s", row.name, e.stale, e.due)
		}
	}
	// An upstream that says no versions is believed: its sessions are never stale.
	c := shelf()
	c.changed([]awsapi.AssociationChange{{AssociationID: "a", Version: 2}}, noon)
	if e := put(c, "cart-0", six(0)); e.stale {
		t.Error("a session without a version is stale")
	}
}

// TestOldNews: a broker that restarted tells again what is known; it takes nothing
// back. One that says no version is believed.
func TestOldNews(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		news awsapi.AssociationChange
		kept bool
	}{
		{"older", awsapi.AssociationChange{AssociationID: "a", Version: 2, Gone: true}, true},
		{"the same", awsapi.AssociationChange{AssociationID: "a", Version: 3, Gone: true}, false},
		{"newer", awsapi.AssociationChange{AssociationID: "a", Version: 4, Gone: true}, false},
		{"without a version", awsapi.AssociationChange{AssociationID: "a", Gone: true}, false},
	} {
		c := shelf()
		put(c, "cart-0", six(1))
		c.changed([]awsapi.AssociationChange{{AssociationID: "a", Version: 3}}, noon)
		if c.changed([]awsapi.AssociationChange{row.news}, noon); (c.entries.Len() == 1) != row.kept {
			t.Errorf("%s: %d entries", row.name, c.entries.Len())
		}
	}
	c := shelf()
	e := put(c, "cart-0", six(1))
	if c.changed([]awsapi.AssociationChange{{AssociationID: "a"}}, noon); !e.stale {
		t.Error("a change without a version leaves the session as it is")
	}
	// Old news hide none that are told with them.
	c = shelf()
	put(c, "cart-0", six(1))
	c.changed([]awsapi.AssociationChange{{AssociationID: "b", Version: 3}}, noon)
	c.changed([]awsapi.AssociationChange{{AssociationID: "b", Version: 2}, {AssociationID: "a", Gone: true}}, noon)
	if c.entries.Len() != 0 {
		t.Error("what is told after old news is not heard")
	}
}

// TestDue: an entry is renewed when its time has come, for a pod that asks or runs, with
// a token that counts, by one at a time.
func TestDue(t *testing.T) {
	t.Parallel()
	at := noon.Add(3 * time.Hour)
	for _, row := range []struct {
		name    string
		change  func(*entry)
		running bool
		picked  bool
	}{
		{"due now", func(*entry) {}, false, true},
		{"due in a moment", func(e *entry) { e.due = at.Add(1) }, false, false},
		{"its token has a moment left", func(e *entry) { e.tokenExpiry = at.Add(1) }, false, true},
		{"its token ends now", func(e *entry) { e.tokenExpiry = at }, false, false},
		{"it is being renewed", func(e *entry) { e.renewing = true }, false, false},
		{"asked for a session's life ago", func(e *entry) { e.lastUsed = at.Add(-6 * time.Hour) }, false, true},
		{"asked for before that", func(e *entry) { e.lastUsed = at.Add(-6*time.Hour - 1) }, false, false},
		{"asked for before that, of a pod that runs", func(e *entry) { e.lastUsed = noon.Add(-9 * time.Hour) }, true, true},
	} {
		c := shelf()
		e := put(c, "cart-0", six(1))
		row.change(e)
		picked := c.due(at, 10, func(string) bool { return row.running })
		if (len(picked) == 1) != row.picked || row.picked && !e.renewing {
			t.Errorf("%s: picked %t, want %t", row.name, len(picked) == 1, row.picked)
		}
	}
}

// TestDueEnds: who looks for what is due forgets what nobody may be given any more.
func TestDueEnds(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		left     time.Duration
		renewing bool
		kept     bool
	}{
		{"more than a minute left", time.Minute + 1, false, true},
		{"a minute left", time.Minute, false, false},
		{"a minute left, while it is renewed", time.Minute, true, true},
	} {
		c := shelf()
		e := put(c, "cart-0", six(1))
		e.renewing = row.renewing
		c.due(e.session.expires.Add(-row.left), 10, func(string) bool { return true })
		if kept := c.entries.Len() == 1; kept != row.kept {
			t.Errorf("%s: kept %t", row.name, kept)
		}
	}
}

// TestLeastLifeFirst: of many that are due those with the least life come first, and
// the rest at the next look.
func TestLeastLifeFirst(t *testing.T) {
	t.Parallel()
	c := shelf()
	for i, pod := range []string{"third", "first", "second"} {
		s := six(1)
		s.expires = noon.Add([]time.Duration{6, 4, 5}[i] * time.Hour)
		put(c, pod, s)
	}
	at := noon.Add(3 * time.Hour)
	var order []string
	for range 2 {
		for _, e := range c.due(at, 2, func(string) bool { return true }) {
			order = append(order, e.id.pod)
		}
	}
	if !slices.Equal(order, []string{"first", "second", "third"}) {
		t.Errorf("in the order %v", order)
	}
}

// TestQuiet: the entries are not gone through while it is known that none is due; they
// are when one may be, after a minute at the latest, and when the clock went back.
func TestQuiet(t *testing.T) {
	t.Parallel()
	all := func(string) bool { return true }
	for _, row := range []struct {
		name  string
		due   time.Duration // after the first look
		next  time.Duration // the second look
		looks bool
	}{
		{"just before it is due", 10 * time.Second, 10*time.Second - 1, false},
		{"when it is due", 10 * time.Second, 10 * time.Second, true},
		{"within the minute", time.Hour, time.Minute - 1, false},
		{"after a minute", time.Hour, time.Minute, true},
		{"the clock stands", time.Hour, 0, false},
		{"the clock went back", time.Hour, -1, true},
	} {
		c := shelf()
		e := put(c, "cart-0", six(1))
		e.due = noon.Add(row.due)
		c.due(noon, 10, all)
		c.due(noon.Add(row.next), 10, all)
		if looked := c.looked.Equal(noon.Add(row.next)) && row.next != 0; looked != row.looks {
			t.Errorf("%s: looked %t, want %t", row.name, looked, row.looks)
		}
	}
}

// TestAllPickedIsQuiet: a look that found room for all that was due has nothing left to
// do; one that did not is followed by the next at once.
func TestAllPickedIsQuiet(t *testing.T) {
	t.Parallel()
	at := noon.Add(3 * time.Hour)
	for limit, quiet := range map[int]bool{1: false, 2: true, 3: true} {
		c := shelf()
		put(c, "one", six(1))
		put(c, "two", six(1))
		if picked := c.due(at, limit, func(string) bool { return true }); len(picked) != min(limit, 2) {
			t.Errorf("%d picked of a limit of %d", len(picked), limit)
		}
		if got := c.quiet.After(at); got != quiet {
			t.Errorf("with a limit of %d it is quiet until %s", limit, c.quiet)
		}
	}
}

// TestOneRenewal: who claims an entry first renews it, alone.
func TestOneRenewal(t *testing.T) {
	t.Parallel()
	c := shelf()
	e := put(c, "cart-0", six(1))
	if !c.claim(e) || c.claim(e) {
		t.Error("want the first claim to hold, and the second not")
	}
	c.finish(e, six(1))
	if !c.claim(e) {
		t.Error("after a renewal nobody can renew")
	}
	c.postpone(e, noon.Add(time.Hour), true)
	if !e.due.Equal(noon.Add(time.Hour)) || e.failures != 1 || !e.denied || !c.claim(e) {
		t.Errorf("after a failure: %+v", e)
	}
	c.finish(e, six(1))
	if e.failures != 0 || e.denied {
		t.Error("what failed before a renewal counts after it")
	}
}

// TestFinishedTooLate: a renewal that ends after its association did keeps nothing.
func TestFinishedTooLate(t *testing.T) {
	t.Parallel()
	c := shelf()
	e := put(c, "cart-0", six(1))
	c.claim(e)
	c.changed([]awsapi.AssociationChange{{AssociationID: "a", Version: 2, Gone: true}}, noon)
	c.entries.Put(e.key, e) // a request brought it back
	c.finish(e, six(2))
	if c.entries.Len() != 0 {
		t.Error("it is kept")
	}
}

// TestRefusedForGood: a renewal that is refused ends its session, and not one
// that the pod was given meanwhile.
func TestRefusedForGood(t *testing.T) {
	t.Parallel()
	for _, meanwhile := range []bool{false, true} {
		c := shelf()
		e := put(c, "cart-0", six(1))
		c.claim(e)
		began := c.begin(e)
		if meanwhile {
			put(c, "cart-0", six(1))
		}
		c.drop(began)
		if kept := c.entries.Len() == 1; kept != meanwhile || e.renewing {
			t.Errorf("given another meanwhile %t: kept %t", meanwhile, kept)
		}
	}
}

// TestPodsThatAreGone: their sessions go, and those of tokens without a pod stay.
func TestPodsThatAreGone(t *testing.T) {
	t.Parallel()
	c := shelf()
	put(c, "here", six(1))
	put(c, "gone", six(1)).restored = true
	print, p, raw := tokenOf("", "alone", noon.Add(time.Hour))
	p.workload.Pod = nil
	c.store(print, p, p.identity(), raw, six(1))
	dropped := c.forgetPods(
		func(uid string, restored bool) bool { return uid != "uid of here" && (uid == "" || restored) },
	)
	if dropped != 1 || c.entries.Len() != 2 {
		t.Errorf("%d dropped, %d left", dropped, c.entries.Len())
	}
}

// TestState: the least life is that of what was used in the last hour.
func TestState(t *testing.T) {
	t.Parallel()
	c := shelf()
	if entries, _, found := c.state(noon); entries != 0 || found {
		t.Errorf("%d entries, found %t", entries, found)
	}
	for i, row := range []struct {
		lives, used time.Duration // used before noon
		want        time.Duration // 0: none
	}{
		{3 * time.Hour, time.Hour + 1, 0},
		{4 * time.Hour, time.Hour, 4 * time.Hour},
		{5 * time.Hour, 0, 4 * time.Hour},
		{2 * time.Hour, 0, 2 * time.Hour},
	} {
		s := six(1)
		s.expires = noon.Add(row.lives)
		put(c, string(rune('a'+i)), s).lastUsed = noon.Add(-row.used)
		if entries, least, found := c.state(noon); entries != i+1 || least != row.want || found != (row.want > 0) {
			t.Errorf("%d entries, the least life of the used ones %s, want %s", entries, least, row.want)
		}
	}
}
