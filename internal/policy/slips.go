package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// nearMiss says how two texts differ if the first looks like a misspelling of the
// second; empty if they do not look alike.
func nearMiss(got, wanted string) string {
	var notes, others []string
	noteIn := func(list *[]string) func(string) {
		return func(note string) {
			if !slices.Contains(*list, note) {
				*list = append(*list, note)
			}
		}
	}
	trimmedGot, trimmedWanted := strings.TrimSpace(got), strings.TrimSpace(wanted)
	if trimmedGot != got || trimmedWanted != wanted {
		noteIn(&notes)("blanks at an end differ")
	}
	bareGot, scheme := cutScheme(trimmedGot)
	bareWanted, wantedScheme := cutScheme(trimmedWanted)
	switch {
	case strings.EqualFold(scheme, wantedScheme):
	case wantedScheme == "":
		noteIn(&notes)("the scheme " + scheme + " does not belong here")
	case scheme == "":
		noteIn(&notes)("the scheme " + wantedScheme + " is missing")
	default:
		noteIn(&notes)("the scheme is " + scheme + ", want " + wantedScheme)
	}
	a, b := normalIssuer(bareGot, noteIn(&notes)), normalIssuer(bareWanted, noteIn(&others))
	switch {
	case got == wanted:
		return ""
	case a == b && len(notes) > 0:
		return strings.Join(notes, ", ")
	case a == b && len(others) > 0:
		return fmt.Sprintf("in %q %s", wanted, strings.Join(others, ", "))
	case strings.EqualFold(a, b):
		return strings.Join(append(notes, "letter case differs"), ", ")
	case strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/"):
		return strings.Join(append(notes, "a trailing slash differs"), ", ")
	}
	distance := editDistance(a, b, 3)
	if len(a) <= 8 || distance > 3 {
		return ""
	}
	note := "1 character differs"
	if distance > 1 {
		note = fmt.Sprintf("%d characters differ", distance)
	}
	return strings.Join(append(notes, note), ", ")
}

// cutScheme takes the scheme of an issuer out of a text that is the issuer, or the ARN
// of its provider.
func cutScheme(text string) (rest, scheme string) {
	const kind = ":oidc-provider/"
	head := ""
	if i := strings.Index(text, kind); i >= 0 {
		head, text = text[:i+len(kind)], text[i+len(kind):]
	}
	for _, one := range []string{"https://", "http://"} {
		if len(text) > len(one) && strings.EqualFold(text[:len(one)], one) {
			return head + text[len(one):], text[:len(one)]
		}
	}
	return head + text, ""
}

// normalIssuer corrects the usual mistakes in the issuer part of an EKS name,
// reporting each (spec issuer-and-sts §16 rows 5, 6, 8).
func normalIssuer(text string, note func(string)) string {
	if rest, found := strings.CutPrefix(text, "https://"); found {
		note("the scheme https:// does not belong here")
		text = rest
	}
	if host, path, _ := strings.Cut(text, "/"); !strings.Contains(host, "oidc.") {
		if expected := eksHost(host); expected != "" && editDistance(host, expected, 3) <= 3 {
			text = expected + "/" + path
			note("the issuers of EKS there are on " + expected)
		}
	}
	if host, path, _ := strings.Cut(text, "/"); strings.HasPrefix(host, "oidc-eks.") {
		if region := dualStackRegion(host); region != "" {
			text = "oidc.eks." + region + "." + arn.Suffix(arn.PartitionOf(region)) + "/" + path
			note("that is the dual-stack address of the keys; tokens name " + eksHost(host))
		}
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
		note("the region comes before eks, want " + host)
	}
	if expected := eksHost(host); expected != "" && expected != host && editDistance(host, expected, 3) <= 3 {
		host = expected
		labels = strings.Split(host, ".")
		note("the issuers of EKS there are on " + host)
	}
	if hasPath && labels[1] == "eks" && !strings.HasPrefix(path, "id/") {
		path = "id/" + path
		note("/id/ is missing")
	}
	if !hasPath {
		return head + host
	}
	if isEKS(host) && strings.HasSuffix(path, "/") && path != "id/" {
		path = strings.TrimRight(path, "/")
		note("the trailing slash does not belong here")
	}
	return head + host + "/" + path
}

// dualStackRegion is the region of a host by which EKS serves the keys of clusters over
// IPv6 too, and which no token names; empty for other hosts.
func dualStackRegion(host string) string {
	labels := strings.SplitN(host, ".", 4)
	if len(labels) < 4 || labels[0] != "oidc-eks" || !arn.IsRegion(labels[1]) ||
		labels[2]+"."+labels[3] != arn.DualStackSuffix(arn.PartitionOf(labels[1])) {
		return ""
	}
	return labels[1]
}

// eksHost returns the host of EKS's issuers in the region that a host name
// contains; empty if it contains none.
func eksHost(host string) string {
	labels := strings.Split(host, ".")
	i := slices.IndexFunc(labels, arn.IsRegion)
	if i < 0 {
		return ""
	}
	return "oidc.eks." + labels[i] + "." + arn.Suffix(arn.PartitionOf(labels[i]))
}

// hostName is what may come before the path of an issuer.
var hostName = lazyregexp.New(`^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?$`)

// brokenIssuer says why no issuer can have this name, without scheme; empty if
// one may. About hosts that are not AWS's own it knows nothing.
func brokenIssuer(issuer string) string {
	if found := placeholder.FindString(issuer); found != "" {
		return "the placeholder " + found + " is not filled in"
	}
	host, _, _ := strings.Cut(issuer, "/")
	labels := strings.Split(host, ".")
	switch {
	case !hostName.MatchString(host):
		return fmt.Sprintf("%q is not a host name", host)
	case arn.PartitionOfHost(host) == "" || !slices.Contains(labels, "eks"):
		return ""
	case eksHost(host) == "":
		return "there is no region in " + host
	case host != eksHost(host):
		return "the issuers of EKS there are on " + eksHost(host)
	}
	return ""
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
