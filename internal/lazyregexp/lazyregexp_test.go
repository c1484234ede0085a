package lazyregexp_test

import (
	"sync"
	"testing"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

func TestUse(t *testing.T) {
	t.Parallel()
	name := lazyregexp.New(`^([a-z]+)-(\d+)$`)
	if !name.MatchString("pod-17") || name.MatchString("pod") {
		t.Error("matches something else")
	}
	if got := name.FindStringSubmatch("pod-17"); len(got) != 3 || got[1] != "pod" || got[2] != "17" {
		t.Errorf("groups are %q", got)
	}
	if got := name.String(); got != `^([a-z]+)-(\d+)$` {
		t.Errorf("reads %q", got)
	}
}

func TestConcurrentFirstUse(t *testing.T) {
	t.Parallel()
	digits := lazyregexp.New(`\d+`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got := digits.FindString("a17b"); got != "17" {
				t.Errorf("found %q", got)
			}
		})
	}
	all.Wait()
}

func TestInvalidPanicsAtFirstUse(t *testing.T) {
	t.Parallel()
	broken := lazyregexp.New(`(`)
	defer func() {
		if recover() == nil {
			t.Error("an expression that is not valid was used")
		}
	}()
	broken.MatchString("")
}
