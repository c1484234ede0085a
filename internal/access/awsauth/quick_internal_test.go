package awsauth

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
)

// same compares what quick says with what the YAML library says. accepted is whether quick
// said anything.
func same(key Key, text string) (accepted bool, differs string) {
	fast, ok := quick(key, text)
	if !ok {
		return false, ""
	}
	r := reader{key: key, Options: Options{Source: access.EKSConfigMap}}
	slow, broken := r.slow(text)
	if broken != nil {
		return true, "the library refuses it: " + broken.Error()
	}
	for i := range slow {
		if len(slow[i].groups) == 0 {
			slow[i].groups = nil
		}
	}
	for i := range fast {
		if len(fast[i].groups) == 0 {
			fast[i].groups = nil
		}
	}
	if !reflect.DeepEqual(fast, slow) {
		return true, fmt.Sprintf("got %+v, want %+v", fast, slow)
	}
	return true, ""
}

// TestQuick: of all that people, tools and accidents write, quick says what the library
// says, or nothing; and of what people and tools write, something.
func TestQuick(t *testing.T) {
	t.Parallel()
	for _, part := range []struct {
		odd, least int // least is how many of a thousand quick must take
	}{{0, 1000}, {1, 200}, {4, 0}} {
		w := &writer{rand.New(rand.NewPCG(13, uint64(part.odd))), part.odd}
		took := 0
		const all = 15_000
		for range all {
			key := Keys()[w.IntN(3)]
			text := w.list(key)
			accepted, differs := same(key, text)
			if differs != "" {
				t.Fatalf("%s\n%s\n%q", differs, text, text)
			}
			if accepted {
				took++
			}
		}
		if took*1000 < part.least*all {
			t.Errorf("of lists with %d/10 oddities, quick took %d of %d, want at least %d", part.odd, took, all,
				part.least*all/1000)
		}
	}
}

// TestQuickForms: what tools write is read by quick.
func TestQuickForms(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"by hand": "# admins\n- rolearn: arn:aws:iam::111122223333:role/Dev\n  username: dev:{{SessionName}}\n" +
			"  groups:\n    - team-dev\n\n- rolearn: arn:aws:iam::111122223333:role/Ops\n  username: ops\n" +
			"  groups: [ops, 'x y']\n",
		"sorted": "- groups:\n" +
			"  - system:bootstrappers\n  - system:nodes\n  rolearn: arn:aws:iam::111122223333:role/n\n" +
			"  username: system:node:{{EC2PrivateDNSName}}\n",
		"quoted": "- \"groups\":\n  - \"system:bootstrappers\"\n  \"rolearn\": \"arn:aws:iam::111122223333:role/n\"\n" +
			"  \"username\": \"system:node:{{EC2PrivateDNSName}}\"\n",
		"without a last line feed": "- rolearn: arn:aws:iam::111122223333:role/n\n  username: x",
		"indented": "    - rolearn: arn:aws:iam::111122223333:role/n\n      username: x\n" +
			"      groups: []\n",
	} {
		if accepted, differs := same(Roles, text); !accepted || differs != "" {
			t.Errorf("%s: accepted %v; %s", name, accepted, differs)
		}
	}
	if accepted, differs := same(Accounts, "- 012345678901\n- '012345678902'\n- \"012345678903\"\n"); !accepted ||
		differs != "" {
		t.Errorf("accounts: accepted %v; %s", accepted, differs)
	}
}

// megabyte is a list of a megabyte, in the style of tools.
func megabyte() string {
	var out strings.Builder
	for i := 0; out.Len() < 1<<20; i++ {
		fmt.Fprintf(&out, "- groups:\n"+
			"  - system:bootstrappers\n  - team-%d\n  rolearn: arn:aws:iam::%012d:role/team-%d\n"+
			"  username: team-%d:{{SessionName}}\n", i, 100_000_000_000+i, i, i)
	}
	return out.String()
}

func BenchmarkList(b *testing.B) {
	text := megabyte()
	o := Options{Source: access.EKSConfigMap, Place: "ConfigMap kube-system/aws-auth"}
	b.Run("quick", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if p := List(Roles, text, o); len(p.Problems) > 0 || len(p.Mappings) < 1000 {
				b.Fatal(p.Problems)
			}
		}
	})
	b.Run("table", func(b *testing.B) {
		p := List(Roles, text, o)
		for b.Loop() {
			access.NewTable(o.Source, p.Mappings)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		r := reader{key: Roles, Options: o}
		for b.Loop() {
			if _, broken := r.slow(text); broken != nil {
				b.Fatal(broken)
			}
		}
	})
	json := megabyteJSON()
	b.Run("flow", func(b *testing.B) {
		b.SetBytes(int64(len(json)))
		for b.Loop() {
			if p := List(Roles, json, o); len(p.Problems) > 0 || len(p.Mappings) < 1000 {
				b.Fatal(p.Problems)
			}
		}
	})
}

// megabyteJSON is one in the style of tools that write JSON.
func megabyteJSON() string {
	var out strings.Builder
	out.WriteString("[")
	for i := 0; out.Len() < 1<<20; i++ {
		if i > 0 {
			out.WriteString(",")
		}
		fmt.Fprintf(&out, `{"rolearn":"arn:aws:iam::%012d:role/team-%d","username":"team-%d:{{SessionName}}",`+
			`"groups":["system:masters"]}`,
			100_000_000_000+i, i, i)
	}
	return out.String() + "]"
}

func FuzzQuick(f *testing.F) {
	w := &writer{rand.New(rand.NewPCG(1, 1)), 2}
	for i := range 60 {
		f.Add(w.list(Keys()[i%3]), byte(i))
	}
	f.Fuzz(func(t *testing.T, text string, key byte) {
		if _, differs := same(Keys()[key%3], text); differs != "" {
			t.Fatal(differs)
		}
	})
}
