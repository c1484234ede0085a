package policy

import (
	"fmt"
	"slices"
	"strings"
)

// nearMiss says how two texts differ when one looks like a slip for the other;
// empty when they do not look alike.
func nearMiss(wanted, got string) string {
	var notes []string
	add := func(note string) {
		if !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	trimmedWanted, trimmedGot := strings.TrimSpace(wanted), strings.TrimSpace(got)
	if trimmedWanted != wanted || trimmedGot != got {
		add("blanks at an end differ")
	}
	a, b := normalIssuer(trimmedWanted, add), normalIssuer(trimmedGot, func(string) {})
	switch {
	case wanted == got:
		return ""
	case a == b && len(notes) > 0:
		return strings.Join(notes, ", ")
	case strings.EqualFold(a, b):
		return "letter case differs"
	case strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/"):
		return "a trailing slash differs"
	}
	if distance := editDistance(a, b, 3); distance <= 3 && len(a) > 8 {
		return fmt.Sprintf("%d characters differ", distance)
	}
	return ""
}

// normalIssuer mends the usual slips in the issuer part of an EKS name,
// reporting each (spec issuer-and-sts §16 rows 5, 6, 8).
func normalIssuer(text string, note func(string)) string {
	if rest, found := strings.CutPrefix(text, "https://"); found {
		note("the scheme https:// does not belong here")
		text = rest
	}
	i := strings.Index(text, "oidc.")
	if i < 0 {
		return text
	}
	head, tail := text[:i], text[i:]
	host, path, hasPath := strings.Cut(tail, "/")
	labels := strings.Split(host, ".")
	if len(labels) > 3 && labels[2] == "eks" {
		labels[1], labels[2] = labels[2], labels[1]
		host = strings.Join(labels, ".")
		note("the region stands before eks, want " + host)
	}
	if hasPath && labels[1] == "eks" && !strings.HasPrefix(path, "id/") {
		path = "id/" + path
		note("/id/ is missing")
	}
	if !hasPath {
		return head + host
	}
	return head + host + "/" + path
}

// editDistance is Levenshtein's, given up beyond limit: limit+1 then. Only what
// is at most limit away from the diagonal can count, so its time is that of
// reading the texts.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	previous, current := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		from, to := max(0, i-limit), min(len(b), i+limit+1)
		current[from] = limit + 1
		if from == 0 {
			current[0] = i + 1
		}
		nearest := current[from]
		for j := from; j < to; j++ {
			current[j+1] = min(current[j]+1, previous[j]+1)
			if a[i] == b[j] {
				current[j+1] = min(current[j+1], previous[j])
			}
			if j+1 <= i+limit {
				current[j+1] = min(current[j+1], previous[j+1]+1)
			}
			nearest = min(nearest, current[j+1])
		}
		if nearest > limit {
			return limit + 1
		}
		previous, current = current, previous
	}
	return min(previous[len(b)], limit+1)
}
