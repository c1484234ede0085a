package planefile_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/planefile"
	"github.com/rolecall/rolecall/test/flagpage"
)

const page = "../../docs/reference/plane.md"

// TestPage: the page lists exactly the fields that there are, and its example is read.
func TestPage(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	table.WriteString("| field | meaning | default | example |\n|---|---|---|---|\n")
	for _, info := range planefile.Fields() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | `%s` |\n", info.Field, info.Meaning, info.Default, info.Example)
	}
	flagpage.Check(t, page, map[string]string{"fields": table.String()})

	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- example -->\n```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the page has no example")
	}
	plane, err := planefile.Parse("the example", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if cluster := plane.Cluster(); cluster.ARN() != "arn:aws:eks:eu-west-1:111122223333:cluster/prod" {
		t.Errorf("the example's cluster is %s", cluster.ARN())
	}
}

// TestExamples: the example of each field is one that the field takes.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, info := range planefile.Fields() {
		section, name, _ := strings.Cut(string(info.Field), ".")
		if _, err := planefile.Parse("example", []byte(head+section+": {"+name+": "+info.Example+"}\n")); err != nil {
			t.Errorf("%s: %v", info.Field, err)
		}
	}
}
