package rotation_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/rotation"
)

var (
	noon       = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	parameters = rotation.Parameters{CacheFor: time.Hour, DrainFor: 24 * time.Hour}
)

func server(name, signs string, serves ...string) rotation.Server {
	return rotation.Server{Name: name, Signs: signs, Serves: serves}
}

func state(phase rotation.Phase) rotation.State {
	s := rotation.State{Phase: phase, Since: noon, OldKID: "K1", NewKID: "K2"}
	if phase == rotation.Stable {
		s.OldKID, s.NewKID = "", ""
	}
	return s
}

func TestStart(t *testing.T) {
	t.Parallel()
	good := func() rotation.Facts {
		return rotation.Facts{
			Now:       noon,
			Published: []string{"K1"},
			Servers:   []rotation.Server{server("a", "K1", "K1"), server("b", "K1", "K1")},
		}
	}
	for _, row := range []struct {
		name   string
		change func(*rotation.Facts)
		want   string // part of the reason; empty starts
	}{
		{"all well", func(*rotation.Facts) {}, ""},
		{"no API server was read", func(f *rotation.Facts) { f.Servers = nil }, "no API server"},
		{"one is down", func(f *rotation.Facts) {
			f.Servers[1] = rotation.Server{
				Name: "b",
				Err:  errors.New("refused"),
			}
		}, "b cannot be read: refused"},
		{"one was not asked", func(f *rotation.Facts) { f.Servers[1].Signs = "" }, "b was not asked"},
		{"they sign differently", func(f *rotation.Facts) { f.Servers[1].Signs = "K0" }, "b signs with K0"},
		{"published is stale", func(f *rotation.Facts) { f.Servers[1].Serves = []string{"K1", "K0"} }, `"K0"`},
		{
			"published has too many", func(f *rotation.Facts) { f.Published = []string{"K1", "K9"} },
			"no API server serves",
		},
		{"published unreadable", func(f *rotation.Facts) { f.PublishedErr = errors.New("403") }, "cannot be read: 403"},
		{"a clock is off", func(f *rotation.Facts) { f.Servers[0].Skew = -61 * time.Second }, "clock of API server a"},
		{"the new key is in use", func(f *rotation.Facts) {
			f.Published = []string{"K1", "K2"}
			f.Servers[0].Serves = []string{"K1", "K2"}
		}, "know the key K2 already"},
	} {
		facts := good()
		row.change(&facts)
		got, err := rotation.Start(rotation.New(noon), facts, "K2", false)
		switch {
		case row.want == "" && (err != nil || got.Phase != rotation.KeyCreated || got.OldKID != "K1" ||
			got.NewKID != "K2"):
			t.Errorf("%s: %+v, %v", row.name, got, err)
		case row.want != "" && (!errors.Is(err, rotation.ErrUnsafe) || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	if _, err := rotation.Start(state(rotation.Published), good(), "K3", false); !errors.Is(err, rotation.ErrUnsafe) {
		t.Errorf("a second rotation: %v", err)
	}
}

func TestGates(t *testing.T) {
	t.Parallel()
	both := []string{"K1", "K2"}
	oldSigns := []rotation.Server{server("a", "K1", both...), server("b", "K1", both...)}
	newSigns := []rotation.Server{server("a", "K2", both...), server("b", "K2", both...)}
	for _, row := range []struct {
		name   string
		phase  rotation.Phase
		change func(*rotation.State)
		facts  rotation.Facts
		next   rotation.Phase // empty: the gate is shut
		says   string
	}{
		{"key not stored", rotation.KeyCreated, nil, rotation.Facts{
			Published: both[:1],
			Servers:   oldSigns,
		}, "", "not stored"},
		{"key stored", rotation.KeyCreated, nil, rotation.Facts{
			Published: both[:1],
			Stored:    true,
			Servers:   oldSigns,
		}, rotation.Published, ""},
		{"new key signs too early", rotation.KeyCreated, nil, rotation.Facts{
			Published: both[:1],
			Stored:    true,
			Servers:   newSigns,
		}, "", "before its turn"},
		{"old key overwritten", rotation.KeyCreated, nil, rotation.Facts{
			Published: []string{"K9"},
			Stored:    true,
			Servers:   oldSigns,
		}, "", "no longer published"},
		{"not read back", rotation.Published, nil, rotation.Facts{Published: both[:1], Servers: oldSigns}, "", `"K2"`},
		{
			"caches fill", rotation.Published, func(s *rotation.State) { s.SeenAt = noon.Add(-59 * time.Minute) },
			rotation.Facts{Published: both, Servers: oldSigns},
			"", "wait until 2026-11-21T12:01:00Z",
		},
		{
			"caches are filled", rotation.Published, func(s *rotation.State) { s.SeenAt = noon.Add(-time.Hour) },
			rotation.Facts{Published: both, Servers: oldSigns},
			rotation.Verifying, "",
		},
		{
			"emergency waits for no cache", rotation.Published, func(s *rotation.State) { s.Emergency = true },
			rotation.Facts{Published: both, Servers: oldSigns},
			rotation.Signing, "",
		},
		{"one does not accept", rotation.Verifying, nil, rotation.Facts{
			Published: both,
			Servers:   []rotation.Server{oldSigns[0], server("b", "K1", "K1")},
		}, "", "b serves the new key"},
		{"one is down", rotation.Verifying, nil, rotation.Facts{
			Published: both,
			Servers:   []rotation.Server{oldSigns[0], {Name: "b", Err: errors.New("down")}},
		}, "", "b cannot be read: down"},
		{
			"all accept", rotation.Verifying, nil,
			rotation.Facts{Published: both, Servers: oldSigns},
			rotation.Signing, "",
		},
		{"one signs with the old", rotation.Signing, nil, rotation.Facts{
			Published: both,
			Exchanges: 3,
			Servers:   []rotation.Server{newSigns[0], oldSigns[1]},
		}, "", "b signs with the new key"},
		{"no canary", rotation.Signing, nil, rotation.Facts{
			Published: both,
			Exchanges: 2,
			Servers:   newSigns,
		}, "", "2 of 3 rounds"},
		{"STS refuses", rotation.Signing, nil, rotation.Facts{
			Published:   both,
			Exchanges:   3,
			ExchangeErr: errors.New("no provider"),
			Servers:     newSigns,
		}, "", "refuses a token of the new key: no provider"},
		{
			"STS is not asked in an emergency", rotation.Signing, func(s *rotation.State) { s.Emergency = true },
			rotation.Facts{
				Published: both, ExchangeErr: errors.New("no provider"),
				Servers: newSigns,
			},
			rotation.Retiring, "",
		},
		{
			"it leaks while some accept", rotation.Verifying, func(s *rotation.State) { s.Emergency = true },
			rotation.Facts{Published: both, Servers: []rotation.Server{oldSigns[0], server("b", "K1", "K1")}},
			rotation.Signing, "",
		},
		{"it leaks while all sign", rotation.Signing, func(s *rotation.State) { s.Emergency = true }, rotation.Facts{
			Published: both,
			Servers:   []rotation.Server{server("a", "K2", "K2"), newSigns[1]},
		}, rotation.Retiring, ""},
		{
			"it leaks, one signs with it", rotation.Signing, func(s *rotation.State) { s.Emergency = true },
			rotation.Facts{Published: both, Servers: []rotation.Server{newSigns[0], oldSigns[1]}},
			"",
			"b signs with the new key",
		},
		{
			"it leaks while tokens live", rotation.Draining, func(s *rotation.State) { s.Emergency = true },
			rotation.Facts{Published: both, Servers: newSigns},
			rotation.Retiring, "",
		},
		{
			"a leaked key is read still", rotation.Retiring, func(s *rotation.State) { s.Emergency = true },
			rotation.Facts{Published: both, Servers: []rotation.Server{server("a", "K2", "K2")}},
			"",
			"readers still find the leaked key K1",
		},
		{"a leaked key is gone", rotation.Retiring, func(s *rotation.State) { s.Emergency = true }, rotation.Facts{
			Published: both[1:],
			Servers:   []rotation.Server{server("a", "K2", "K2")},
		}, rotation.Stable, ""},
		{"all sign", rotation.Signing, nil, rotation.Facts{
			Published: both,
			Exchanges: 3,
			Servers:   newSigns,
		}, rotation.Draining, ""},
		{"emergency drops at once", rotation.Signing, func(s *rotation.State) { s.Emergency = true }, rotation.Facts{
			Published: both,
			Servers:   newSigns,
		}, rotation.Retiring, ""},
		{"one signs what others refuse", rotation.Signing, nil, rotation.Facts{
			Published: both,
			Exchanges: 3,
			Servers:   []rotation.Server{newSigns[0], server("b", "K1", "K1")},
		}, "", "does not accept the new key that a signs with"},
		{
			"tokens live", rotation.Draining, func(s *rotation.State) { s.SwitchedAt = noon.Add(-23 * time.Hour) },
			rotation.Facts{Published: both, Servers: newSigns},
			"", "wait until 2026-11-21T13:00:00Z",
		},
		{
			"one went back", rotation.Draining, func(s *rotation.State) { s.SwitchedAt = noon.Add(-25 * time.Hour) },
			rotation.Facts{Published: both, Servers: []rotation.Server{newSigns[0], oldSigns[1]}},
			"",
			"b signs with the new key",
		},
		{
			"old key dropped too early", rotation.Draining,
			func(s *rotation.State) { s.SwitchedAt = noon.Add(-25 * time.Hour) },
			rotation.Facts{
				Published: both,
				Servers:   []rotation.Server{newSigns[0], server("b", "K2", "K2")},
			},
			"", "no longer accepts the old key",
		},
		{
			"tokens are gone", rotation.Draining, func(s *rotation.State) { s.SwitchedAt = noon.Add(-24 * time.Hour) },
			rotation.Facts{Published: both, Servers: newSigns},
			rotation.Retiring, "",
		},
		{"one lists the old key", rotation.Retiring, nil, rotation.Facts{
			Published: both,
			Servers:   []rotation.Server{server("a", "K2", "K2"), newSigns[1]},
		}, "", "b has dropped"},
		{"old key gone", rotation.Retiring, nil, rotation.Facts{
			Published: both,
			Servers:   []rotation.Server{server("a", "K2", "K2"), server("b", "K2", "K2")},
		}, rotation.Stable, ""},
		{"signing key not accepted", rotation.Retiring, nil, rotation.Facts{
			Published: both,
			Servers:   []rotation.Server{server("a", "K2", "K3")},
		}, "", "does not accept the tokens it signs"},
		{"signing key not published", rotation.Retiring, nil, rotation.Facts{
			Published: both[:1],
			Servers:   []rotation.Server{server("a", "K2", "K2")},
		}, "", "every new token fails"},
	} {
		s := state(row.phase)
		if row.change != nil {
			row.change(&s)
		}
		row.facts.Now = noon
		got, err := rotation.Advance(s, parameters, row.facts)
		switch {
		case row.next != "" && (err != nil || got.Phase != row.next):
			t.Errorf("%s: %s, %v, want %s", row.name, got.Phase, err, row.next)
		case row.next == "" && (err == nil || got.Phase != row.phase || !strings.Contains(err.Error(), row.says)):
			t.Errorf("%s: %s, %v, want to stay because of %q", row.name, got.Phase, err, row.says)
		}
	}
}

// TestLeakedIsRemembered: after an emergency its old key is neither published nor
// accepted as a new one.
func TestLeakedIsRemembered(t *testing.T) {
	t.Parallel()
	s := state(rotation.Retiring)
	s.Emergency = true
	facts := rotation.Facts{Now: noon, Published: []string{"K2"}, Servers: []rotation.Server{server("a", "K2", "K2")}}
	ended, err := rotation.Advance(s, parameters, facts)
	if err != nil || ended.Phase != rotation.Stable || !slices.Equal(ended.Leaked, []string{"K1"}) {
		t.Fatalf("%+v, %v", ended, err)
	}
	facts.Servers[0].Serves = []string{"K2", "K1"} // it was put back: that does not matter
	if reasons := rotation.Check(ended, facts); len(reasons) != 0 {
		t.Errorf("reasons %q", reasons)
	}
	facts.Servers[0].Serves = []string{"K2"}
	if _, err := rotation.Start(ended, facts, "K1", false); !errors.Is(err, rotation.ErrUnsafe) ||
		!strings.Contains(err.Error(), "has leaked") {
		t.Errorf("the leaked key again: %v", err)
	}
	next, err := rotation.Start(ended, facts, "K3", false)
	if err != nil || !slices.Equal(next.Leaked, []string{"K1"}) {
		t.Fatalf("%+v, %v", next, err)
	}
	if next, err = rotation.Abort(next, facts); err != nil || !slices.Equal(next.Leaked, []string{"K1"}) {
		t.Errorf("%+v, %v", next, err)
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	calm := []rotation.Server{server("a", "K1", "K1")}
	for _, row := range []struct {
		name    string
		phase   rotation.Phase
		servers []rotation.Server
		refused string
	}{
		{"nothing to abort", rotation.Stable, calm, "no rotation"},
		{"just created", rotation.KeyCreated, calm, ""},
		{"published", rotation.Published, calm, ""},
		{"verifying", rotation.Verifying, calm, ""},
		{
			"but one signs with it", rotation.Verifying,
			[]rotation.Server{server("a", "K2", "K2")},
			"a signs with the new key",
		},
		{
			"but one cannot be asked", rotation.Verifying,
			[]rotation.Server{{Name: "a", Err: errors.New("down")}},
			"cannot be read",
		},
		{"signing", rotation.Signing, calm, "finish this rotation"},
		{"draining", rotation.Draining, calm, "finish this rotation"},
		{"retiring", rotation.Retiring, calm, "finish this rotation"},
	} {
		got, err := rotation.Abort(state(row.phase), rotation.Facts{Now: noon, Servers: row.servers})
		switch {
		case row.refused == "" && (err != nil || got.Phase != rotation.Stable || got.NewKID != ""):
			t.Errorf("%s: %+v, %v", row.name, got, err)
		case row.refused != "" && (err == nil || !strings.Contains(err.Error(), row.refused)):
			t.Errorf("%s: %v, want %q", row.name, err, row.refused)
		}
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	emergency := state(rotation.Retiring)
	emergency.Emergency = true
	for _, row := range []struct {
		name    string
		state   rotation.State
		servers []rotation.Server
		want    []string
	}{
		{
			"stable is the union", state(rotation.Stable),
			[]rotation.Server{server("a", "K1", "K1"), server("b", "K1", "K0", "K1")},
			[]string{"K0", "K1"},
		},
		{
			"an unused key stays away", state(rotation.KeyCreated),
			[]rotation.Server{server("a", "K1", "K1", "K2")},
			[]string{"K1"},
		},
		{
			"unless somebody signs with it", state(rotation.KeyCreated),
			[]rotation.Server{server("a", "K2", "K1", "K2")},
			[]string{"K1", "K2"},
		},
		{
			"newest first, others kept", state(rotation.Published),
			[]rotation.Server{server("a", "K1", "K1", "K0")},
			[]string{"K2", "K1", "K0"},
		},
		{
			"old stays while it retires", state(rotation.Retiring),
			[]rotation.Server{server("a", "K2", "K2")},
			[]string{"K2", "K1"},
		},
		{"a leaked one goes at once", emergency, []rotation.Server{server("a", "K2", "K1", "K2")}, []string{"K2"}},
		{"one that leaked before stays away", rotation.State{
			Phase:  rotation.Stable,
			Leaked: []string{"K0"},
		}, []rotation.Server{server("a", "K1", "K0", "K1")}, []string{"K1"}},
		{"though another rotation runs", rotation.State{
			Phase:  rotation.Verifying,
			OldKID: "K1",
			NewKID: "K2",
			Leaked: []string{"K0"},
		}, []rotation.Server{server("a", "K1", "K0", "K1")}, []string{"K2", "K1"}},
		{"unless somebody signs with it again", rotation.State{
			Phase:  rotation.Stable,
			Leaked: []string{"K1"},
		}, []rotation.Server{server("a", "K1", "K1")}, []string{"K1"}},
		{
			"unless somebody signs with it still", emergency,
			[]rotation.Server{server("a", "K1", "K1", "K2")},
			[]string{"K2", "K1"},
		},
	} {
		if diff := cmp.Diff(row.want, rotation.Wanted(row.state, rotation.Facts{Servers: row.servers})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, phase := range rotation.Phases() {
		text, err := json.Marshal(state(phase))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"phase":"Signing","oldKID":"a","newKID":"a"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := rotation.Parse(text)
		if err != nil {
			return
		}
		written, err := json.Marshal(first)
		if err != nil {
			t.Skip("a time beyond the year 9999")
		}
		second, err := rotation.Parse(written)
		if err != nil || second.Phase != first.Phase || second.NewKID != first.NewKID ||
			!second.Since.Equal(first.Since) {
			t.Errorf("%s\nis read as %+v, written and read again as %+v, %v", text, first, second, err)
		}
		if !slices.Contains(rotation.Phases(), first.Phase) {
			t.Errorf("phase %q is accepted", first.Phase)
		}
	})
}

// TestUnserved: in every phase, what is published is served, signed with or named by the
// rotation, or somebody else has written it; what has leaked is never ours to publish.
func TestUnserved(t *testing.T) {
	t.Parallel()
	facts := rotation.Facts{
		Servers:   []rotation.Server{{Name: "a", Serves: []string{"served", "leaked"}, Signs: "signs"}},
		Published: []string{"served", "signs", "old", "new", "foreign", "leaked"},
	}
	for _, row := range []struct {
		phase     rotation.Phase
		emergency bool
		want      []string
	}{
		{rotation.Stable, false, []string{"old", "new", "foreign", "leaked"}},
		{rotation.KeyCreated, false, []string{"foreign", "leaked"}},
		{rotation.Published, false, []string{"foreign", "leaked"}},
		{rotation.Verifying, false, []string{"foreign", "leaked"}},
		{rotation.Signing, false, []string{"foreign", "leaked"}},
		{rotation.Draining, false, []string{"foreign", "leaked"}},
		{rotation.Retiring, false, []string{"foreign", "leaked"}},
		{rotation.Signing, true, []string{"foreign", "leaked"}},
		{rotation.Retiring, true, []string{"old", "foreign", "leaked"}},
	} {
		state := rotation.State{Phase: row.phase, Emergency: row.emergency, Leaked: []string{"leaked"}}
		if row.phase != rotation.Stable {
			state.OldKID, state.NewKID = "old", "new"
		}
		if diff := cmp.Diff(row.want, rotation.Unserved(state, facts)); diff != "" {
			t.Errorf("%s, emergency %t (-want +got):\n%s", row.phase, row.emergency, diff)
		}
	}
}
