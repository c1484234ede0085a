package access_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/callerid"
)

// many are n mappings of roles.
func many(n int) []access.Mapping {
	all := make([]access.Mapping, n)
	for i := range all {
		all[i] = access.Mapping{
			Origin: access.Origin{
				Place: "ConfigMap kube-system/aws-auth", Field: fmt.Sprintf("mapRoles[%d]", i),
				Line: i,
			},
			Match:    access.Match{ARN: roleARN(fmt.Sprintf("Team-%d", i))},
			Username: fmt.Sprintf("team-%d:{{SessionName}}", i), Groups: []string{"team", fmt.Sprintf("team-%d", i)},
		}
		if i%2 == 0 {
			all[i].Username = fmt.Sprintf("team-%d", i)
		}
	}
	return all
}

// BenchmarkResolve is a login's lookup among 100,000 mappings, in a chain of six sources.
func BenchmarkResolve(b *testing.B) {
	all := many(100_000)
	chain := access.NewChain(access.Config{},
		access.NewTable(access.AccessEntry, []access.Mapping{role("x", "x")}),
		access.NewTable(access.IdentityMapping, []access.Mapping{set("View", "x")}),
		access.NewTable(access.MountedFile, nil), access.NewTable(access.EKSConfigMap, all),
		access.NewTable(access.CRD, []access.Mapping{role("y", "y")}),
		access.NewTable(access.GroupMapping, []access.Mapping{member("AIDAX", "x", true, "g")}),
	)
	callers := make([]*callerid.Identity, 1024)
	for _, kind := range []struct {
		name string
		step int
		at   int
	}{{"fixed", 2, 0}, {"template", 2, 1}} {
		for i := range callers {
			callers[i] = caller(b, fmt.Sprintf("role/team-%d/jdoe", (i*97*kind.step+kind.at)%100_000))
		}
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, refusal := chain.Resolve(callers[i%len(callers)], nil); refusal != nil {
					b.Fatal(refusal)
				}
			}
		})
	}
	nobody := caller(b, "role/nobody/jdoe")
	b.Run("nobody", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			chain.Resolve(nobody, nil)
		}
	})
	b.Run("nearest", func(b *testing.B) {
		for b.Loop() {
			chain.Nearest(nobody)
		}
	})
}

// BenchmarkTable is what a change of 100,000 mappings costs before it counts.
func BenchmarkTable(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		all := many(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				access.NewTable(access.EKSConfigMap, all)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			table := access.NewTable(access.EKSConfigMap, all)
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/mapping")
			runtime.KeepAlive(table)
		})
	}
}
