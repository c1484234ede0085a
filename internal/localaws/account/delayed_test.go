package account_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/account"
)

// TestDelay compares views with the state that was there a delay ago, after
// random writes, some of which fail.
func TestDelay(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	set, err := account.NewSet(account.NewMemory(), []string{"111122223333"}, now)
	if err != nil {
		t.Fatal(err)
	}
	const delay = 5 * time.Second
	set.Delay(delay, func() time.Time { return now })
	type snapshot struct {
		at    time.Time
		roles map[string]string // description by name
	}
	history := []snapshot{{now.Add(-time.Hour), map[string]string{}}}
	for step := range 3000 {
		now = now.Add(time.Duration(random.IntN(3)) * time.Second)
		current := maps.Clone(history[len(history)-1].roles)
		fails := errors.New("fails")
		err := set.Update(func(state account.State) error {
			for range random.IntN(4) {
				name := "r" + strconv.Itoa(random.IntN(8))
				if random.IntN(3) == 0 {
					delete(current, name)
					err := state.DeleteRole(name)
					if err != nil {
						return err
					}
					continue
				}
				current[name] = strconv.Itoa(step)
				if err := state.PutRole(&account.Role{Name: name, Description: current[name]}); err != nil {
					return err
				}
			}
			if random.IntN(5) == 0 {
				return fails
			}
			return nil
		})
		if err == nil {
			history = append(history, snapshot{now, current})
		} else if !errors.Is(err, fails) {
			t.Fatal(err)
		}
		var want map[string]string
		for _, one := range history {
			if !one.at.After(now.Add(-delay)) {
				want = one.roles
			}
		}
		if err := set.View(func(state account.State) error {
			after := "r" + strconv.Itoa(random.IntN(8))
			var names, rest []string
			if err := state.RolesAfter("", func(role *account.Role) bool {
				names = append(names, role.Name)
				if want[role.Name] != role.Description {
					t.Errorf("step %d: %s is of %s, want %s", step, role.Name, role.Description, want[role.Name])
				}
				return true
			}); err != nil {
				return err
			}
			sorted := slices.Sorted(maps.Keys(want))
			if !slices.Equal(names, sorted) || state.CountRoles() != len(sorted) {
				t.Errorf("step %d: %v, %d, want %v", step, names, state.CountRoles(), sorted)
			}
			err := state.RolesAfter(after, func(role *account.Role) bool {
				rest = append(rest, role.Name)
				return true
			})
			if i, found := slices.BinarySearch(sorted, after); !slices.Equal(
				rest, sorted[i+map[bool]int{true: 1}[found]:],
			) {
				t.Errorf("step %d: after %s: %v of %v", step, after, rest, sorted)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}
