package policy

import (
	"slices"
	"strings"
)

// resourceSet is a statement's Resource or NotResource.
type resourceSet struct {
	not      bool
	at       span
	patterns []resourcePattern
}

type resourcePattern struct {
	at    span
	whole pattern
	all   bool // "*"
	// parts are the six parts of an ARN pattern without variables; nil when
	// the pattern can match nothing or has variables.
	parts [][]op
}

func (d *decoder) resources(n *node, s *statement) {
	element, list := n.either("Resource")
	if d.kind == Trust {
		switch {
		case list == nil:
		case element == "Resource":
			d.report(list.at, hasResource, "", "a trust policy has no Resource: it is the role itself")
		default:
			d.report(list.at, hasNotResource, "", "a trust policy has no NotResource")
		}
		return
	}
	if list == nil {
		// Some services' own policies have none: an ECR repository's is about
		// the repository.
		if d.kind != Resource {
			d.missing(n, noResource, "Resource")
		}
		return
	}
	if list.isEmptyList() {
		d.report(list.at, noResource, "", "%s is an empty list", element)
	}
	items := d.texts(list, element)
	s.resource = &resourceSet{not: element == "NotResource", at: list.at}
	for _, item := range items {
		s.resource.patterns = append(s.resource.patterns, compileResource(item, d.kind, d.hasVariables()))
	}
	if d.kind == Resource || d.kind == Endpoint {
		return // each service has rules of its own
	}
	// AWS looks at a list in reverse alphabetical order (spec iam-policy §1.5).
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b *node) int { return strings.Compare(b.text, a.text) })
	for _, item := range sorted {
		d.checkResource(item)
	}
}

var partitions = []string{
	"aws",
	"aws-cn",
	"aws-us-gov",
	"aws-iso",
	"aws-iso-b",
	"aws-iso-e",
	"aws-iso-f",
	"aws-eusc",
	"*",
}

func (d *decoder) checkResource(item *node) {
	text := item.text
	if text == "*" || strings.HasPrefix(text, "${") {
		return
	}
	parts := d.splitResource(text)
	switch {
	case len(parts) < 2:
		d.report(item.at, resourceNotARN, text, `resource %q: want an ARN or "*"%s`, text, unfilled(text))
		return
	case strings.Contains(parts[1], "${"):
	case !slices.Contains(partitions, strings.ToLower(parts[1])):
		shown := slices.Concat(parts[1:], []string{"*", "*", "*", "*", "*"})[:5]
		d.report(
			item.at,
			resourcePartition,
			`"`+parts[1]+`" is not valid for resource "arn:`+strings.Join(shown, ":")+`"`,
			"resource %q: %q is not a partition, want aws, aws-cn, …%s",
			text,
			parts[1],
			unfilled(text),
		)
		return
	}
	switch {
	case parts[0] != "arn":
		d.report(item.at, resourceNotARN, text, `resource %q: an ARN begins with arn:`, text)
	case len(parts) == 2:
		d.report(item.at, resourceVendor, "", "resource %q ends after the partition", text)
	case parts[2] == "":
		d.report(item.at, legacyARN, "", "resource %q names no service", text)
	case len(parts) < 6 && strings.Contains(text, "::"):
		d.report(
			item.at,
			legacyARN,
			"",
			"resource %q has %d parts, want six: arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE",
			text,
			len(parts),
		)
	case d.checkRegion(item, parts):
	case len(parts) < 6:
		d.checkShortARN(item, len(parts))
	default:
		d.checkIAMPath(item, parts)
	}
}

// checkRegion: IAM and S3 have none in their ARNs. It reports whether it found
// a fault.
func (d *decoder) checkRegion(item *node, parts []string) bool {
	if len(parts) < 4 || parts[3] == "" || parts[3] == "*" {
		return false
	}
	switch strings.ToLower(parts[2]) {
	case "iam":
		d.report(
			item.at,
			resourceRegionIAM,
			item.text,
			"resource %q: IAM has no regions, leave %q out",
			item.text,
			parts[3],
		)
		return true
	case "s3":
		if len(parts) == 6 && strings.HasPrefix(parts[5], "accesspoint/") {
			return false
		}
		d.report(
			item.at,
			resourceRegionS3,
			item.text,
			"resource %q: bucket names are global, leave %q out",
			item.text,
			parts[3],
		)
		return true
	}
	return false
}

// splitResource cuts a text at its first five colons outside of variables.
func (d *decoder) splitResource(text string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(text) && len(parts) < 5; i++ {
		if text[i] == ':' {
			parts, start = append(parts, text[start:i]), i+1
		} else if d.hasVariables() && strings.HasPrefix(text[i:], "${") {
			if _, length, ok := readVariable(text[i:]); ok {
				i += length - 1
			}
		}
	}
	return append(parts, text[start:])
}

// checkShortARN: IAM completes short patterns, control policies do not (spec
// iam-policy §2.2 rule 5).
func (d *decoder) checkShortARN(item *node, parts int) {
	if d.kind == RCP || (d.kind == SCP && !strings.HasSuffix(item.text, "*")) {
		d.report(
			item.at,
			controlPolicyGrammar,
			"",
			"resource %q has %d parts, want six: arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE",
			item.text,
			parts,
		)
	}
}

// checkIAMPath: IAM knows the kinds of its own resources.
func (d *decoder) checkIAMPath(item *node, parts []string) {
	resource := parts[5]
	if strings.EqualFold(parts[2], "iam") && resource != "*" && resource != "root" &&
		!strings.HasPrefix(resource, "${") &&
		!slices.ContainsFunc(iamPaths, func(kind string) bool { return strings.HasPrefix(resource, kind) }) {
		d.report(
			item.at,
			resourcePathIAM,
			"",
			"resource %q: %q is not a kind of IAM resource, want role/NAME, user/NAME, policy/NAME, …",
			item.text,
			resource,
		)
	}
}

func compileResource(item *node, kind Kind, vars bool) resourcePattern {
	source := item.text
	p := resourcePattern{at: item.at, whole: compilePattern(source, true, vars), all: source == "*"}
	if p.all || p.whole.segments != nil {
		return p
	}
	p.parts = splitOps(p.whole.ops)
	if missing := 6 - len(p.parts); missing > 0 {
		p.parts = padParts(p.parts, missing, kind, source)
	}
	return p
}

// padParts completes a short ARN pattern as spec iam-policy §2.2 rule 5 says.
func padParts(parts [][]op, missing int, kind Kind, source string) [][]op {
	switch {
	case kind == RCP,
		kind == SCP && !strings.HasSuffix(source, "*"),
		(kind == Resource || kind == Endpoint) && !strings.Contains(source, "*"):
		return nil
	}
	for range missing {
		parts = append(parts, []op{anyRun})
	}
	return parts
}

// splitOps cuts a pattern at its first five colons.
func splitOps(ops []op) [][]op {
	parts := make([][]op, 0, 6)
	start := 0
	for i, o := range ops {
		if o == ':' && len(parts) < 5 {
			parts = append(parts, ops[start:i])
			start = i + 1
		}
	}
	return append(parts, ops[start:])
}

func (s *resourceSet) match(r *Request) bool {
	for i := range s.patterns {
		if s.patterns[i].match(r, r.Resource) {
			return !s.not
		}
	}
	return s.not
}

func (p *resourcePattern) match(r *Request, resource string) bool {
	if p.all {
		return true
	}
	parts := p.parts
	if p.whole.segments != nil {
		ops, ok := p.whole.resolve(r)
		if !ok {
			return false
		}
		if parts = splitOps(ops); len(parts) != 6 {
			return false
		}
	}
	return parts != nil && matchARN(parts, resource, true)
}

// matchARN matches part by part. Partition, service and region are compared
// without regard to letter case when foldNames is set, as in Resource.
func matchARN(parts [][]op, value string, foldNames bool) bool {
	for i := range 6 {
		part, rest, more := value, "", false
		if i < 5 {
			part, rest, more = strings.Cut(value, ":")
			if !more {
				return false
			}
		}
		if !matchOps(parts[i], part, foldNames && i >= 1 && i <= 3) {
			return false
		}
		value = rest
	}
	return true
}
