// Package faults lets tests of AWS clients ask local AWS for failures: which
// calls fail, in which way, how often; and gives them a clock that can be
// moved.
//
// It does not make calls fail itself; see package localaws.
package faults

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind is a way to fail.
type Kind string

// The kinds of failures.
const (
	Throttle Kind = "throttle" // too many requests
	Server   Kind = "error"    // a 5xx; Status says which
	Latency  Kind = "latency"  // answered late, by Delay, but answered
	Skew     Kind = "skew"     // the server's clock is off by Delay for this call
	Expired  Kind = "expired"  // the credentials count as expired
	Keys     Kind = "jwks"     // the issuer's keys cannot be fetched
)

// Limits of what can be asked for.
const (
	maxLatency = 20 * time.Second // below the server's write timeout
	maxKept    = 100
)

// Fault is one failure that was asked for.
type Fault struct {
	ID   string `json:"id,omitempty"`
	Kind Kind   `json:"kind"`
	// Service and Action say which calls fail, with * and ? as wildcards; empty
	// is all of them. Action is the operation's name without its service.
	Service string `json:"service,omitempty"`
	Action  string `json:"action,omitempty"`
	// Status is the HTTP status of an error: 500, 502, 503 or 504; 500 if zero.
	Status int `json:"status,omitempty"`
	// Delay is how late an answer is, or how far the clock is off: "2s", "-20m".
	Delay string `json:"delay,omitempty"`
	// Count is how many calls fail; 0 is all until the fault is deleted.
	Count int `json:"count,omitempty"`
}

// Duration returns Delay, which Check has validated.
func (f Fault) Duration() time.Duration {
	d, _ := time.ParseDuration(f.Delay)
	return d
}

// Check says what is wrong with a fault.
func (f Fault) Check() error {
	delay, err := time.ParseDuration(f.Delay)
	needsDelay := f.Kind == Latency || f.Kind == Skew
	switch {
	case !slices.Contains([]Kind{Throttle, Server, Latency, Skew, Expired, Keys}, f.Kind):
		return fmt.Errorf("kind %q: must be throttle, error, latency, skew, expired or jwks", f.Kind)
	case needsDelay && err != nil:
		return fmt.Errorf("delay %q of kind %s: must be a duration such as 2s or -20m", f.Delay, f.Kind)
	case !needsDelay && f.Delay != "":
		return fmt.Errorf("kind %s has no delay", f.Kind)
	case f.Kind == Latency && (delay < 0 || delay > maxLatency):
		return fmt.Errorf("delay %s: must be 0s to %s", f.Delay, maxLatency)
	case f.Status != 0 && (f.Kind != Server || !slices.Contains([]int{500, 502, 503, 504}, f.Status)):
		return fmt.Errorf("status %d: must be 500, 502, 503 or 504, with kind error", f.Status)
	case f.Count < 0:
		return fmt.Errorf("count %d: must be 0 or more", f.Count)
	}
	for _, pattern := range []string{f.Service, f.Action} {
		if _, err := path.Match(pattern, ""); err != nil || strings.ContainsAny(pattern, `[\`) {
			return fmt.Errorf("pattern %q: must be a name, with * and ? as wildcards", pattern)
		}
	}
	return nil
}

func (f Fault) covers(service, action string) bool {
	return matches(f.Service, service) && matches(f.Action, action)
}

func matches(pattern, name string) bool {
	matched, _ := path.Match(pattern, name) // Check has validated the pattern
	return pattern == "" || matched
}

// ParseHeader reads the value of the header X-Rolecall-Fault: kinds with
// parameters, separated by commas, such as "latency;delay=2s, error;status=503".
func ParseHeader(text string) ([]Fault, error) {
	var asked []Fault
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Split(part, ";")
		f := Fault{Kind: Kind(strings.TrimSpace(fields[0]))}
		for _, field := range fields[1:] {
			name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			var err error
			switch name {
			case "delay":
				f.Delay = value
			case "status":
				f.Status, err = strconv.Atoi(value)
			default:
				err = errors.New("want delay or status")
			}
			if err != nil {
				return nil, fmt.Errorf("parameter %q: %w", name, err)
			}
		}
		if err := f.Check(); err != nil {
			return nil, err
		}
		asked = append(asked, f)
	}
	return asked, nil
}

// List is the faults that are waiting for calls. The zero value is empty; it is
// safe for concurrent use.
type List struct {
	mu   sync.Mutex
	kept []Fault
	last int
}

// Add keeps a fault and returns it with an id.
func (l *List) Add(f Fault) (Fault, error) {
	if err := f.Check(); err != nil {
		return f, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) >= maxKept {
		return f, fmt.Errorf("there are %d faults already; delete some", maxKept)
	}
	l.last++
	f.ID = strconv.Itoa(l.last)
	l.kept = append(l.kept, f)
	return f, nil
}

// All returns the faults that are left.
func (l *List) All() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.kept)
}

// Delete removes the fault with an id, all of them if it is empty, and says
// whether there was one.
func (l *List) Delete(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.kept)
	l.kept = slices.DeleteFunc(l.kept, func(f Fault) bool { return id == "" || f.ID == id })
	return len(l.kept) < before
}

// Take returns the faults of one call and counts it.
func (l *List) Take(service, action string) []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []Fault
	for i := range l.kept {
		if !l.kept[i].covers(service, action) {
			continue
		}
		taken = append(taken, l.kept[i])
		if l.kept[i].Count == 1 {
			l.kept[i].Count = -1 // used up
		} else if l.kept[i].Count > 1 {
			l.kept[i].Count--
		}
	}
	l.kept = slices.DeleteFunc(l.kept, func(f Fault) bool { return f.Count < 0 })
	return taken
}
