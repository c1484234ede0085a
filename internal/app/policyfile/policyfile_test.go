package policyfile_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/app/policyfile"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/trust"
)

// apply applies a patch of one file to a text.
func apply(text, patch string) (string, error) {
	lines, at := strings.SplitAfter(text, "\n"), 0
	var out strings.Builder
	rows := strings.SplitAfter(patch, "\n")
	for i := range rows {
		row := rows[i]
		ended := i+1 < len(rows) && strings.HasPrefix(rows[i+1], `\ No newline`)
		body := row
		if len(row) > 0 {
			body = row[1:]
		}
		if ended {
			body = strings.TrimSuffix(body, "\n")
		}
		switch {
		case row == "", strings.HasPrefix(row, "diff "), strings.HasPrefix(row, "--- "), strings.HasPrefix(row, "+++ "),
			row[0] == '\\':
		case row[0] == '@':
			first, _, _ := strings.Cut(strings.TrimPrefix(strings.Fields(row)[1], "-"), ",")
			start, err := strconv.Atoi(first)
			if err != nil {
				return "", err
			}
			for ; at < start-1; at++ {
				out.WriteString(lines[at])
			}
		case row[0] == '+':
			out.WriteString(body)
		case at >= len(lines) || lines[at] != body:
			return "", fmt.Errorf("line %d: the patch has %q", at+1, body)
		default:
			if at++; row[0] == ' ' {
				out.WriteString(body)
			}
		}
	}
	return out.String() + strings.Join(lines[at:], ""), nil
}

// TestPrintDiff: what is printed, applied to the document, gives the other one, whatever
// ends their lines.
func TestPrintDiff(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // not a secret
	words := []string{"{", "}", `  "a": 1,`, "\t\"b\": [", "]", "", "x\r", "--- y", "+++ y", "@@ -1 +1 @@", `\ z`}
	made := func() string {
		var text strings.Builder
		for range random.IntN(12) {
			text.WriteString(words[random.IntN(len(words))] + "\n")
		}
		if random.IntN(2) == 0 {
			return strings.TrimSuffix(text.String(), "\n")
		}
		return text.String()
	}
	for range 3000 {
		before := made()
		after := made()
		if random.IntN(2) == 0 {
			after = strings.Replace(before, "a", "c", 1) // one line of many
		}
		holds(t, before, after)
	}
}

// TestFixesAsDiff: the same of what --fix writes, of documents of one line and of many.
func TestFixesAsDiff(t *testing.T) {
	t.Parallel()
	const document = `{"Version":"2012-10-17","Statement":{"Effect":"allow","Principal":{"Federated":` +
		`"arn:aws:iam::111122223333:oidc-provider/h.example/p"},"Action":"sts:AssumeRoleWithWebIdentity",` +
		`"Condition":{"StringEquals":{"h.example/p:sub":"system:serviceaccount:a:*","h.example/p:aud":"sts.amazonaws.com"}}}}`
	pretty, err := policy.Format("p", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{document, document + "\n", string(pretty), strings.ReplaceAll(string(pretty), "\n", "\r\n")} {
		fixed := trust.Fix("p", []byte(text), policy.LintOptions{Role: &policy.RoleFacts{}})
		if fixed.Text == text {
			t.Errorf("%q is not changed", text)
		}
		holds(t, text, fixed.Text)
	}
}

func holds(t *testing.T, before, after string) {
	t.Helper()
	var patch bytes.Buffer
	policyfile.PrintDiff(&patch, []byte(before), []byte(after))
	got, err := apply(before, patch.String())
	if err != nil || got != after {
		t.Fatalf("%q to %q: got %q, %v, by\n%s", before, after, got, err, &patch)
	}
}
