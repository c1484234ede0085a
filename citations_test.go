package rolecall_test

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// specs is the folder of the specifications. A citation of one says "spec NAME"
// and a list of what it means there:
//
//	spec podidentity §19.5, §21              sections
//	spec issuer-and-sts §16 rows 2 to 6, 9   numbered rows, rules or steps of a section
//	spec podidentity row H15, rows S2-S8     rows with an id of their own
//
// A row after a comma is one of the section before it.
const specs = "docs/spec/"

// citing are the files that cite.
var citing = []string{
	".go", ".md", ".txtar", ".yaml", ".yml", ".json", ".sh", ".py", ".cjs", ".txt", ".mod", "Makefile", ".ci/run",
}

// shorthands are how files of one subject, whose every line cites, begin a
// citation.
var shorthands = []struct{ folder, short, long string }{
	{"test/conformance/policy/", `"§`, `"spec iam-policy §`},
	{"test/conformance/inject/", `"webhook §`, `"spec webhook §`},
	{"test/injectcase/", `"webhook §15 row %d"`, `"spec webhook §15"`},
}

var (
	citation = pattern(`\bspecs?_([a-z]+(?:-[a-z]+)*)_(ITEM(?:(?:SEP|_)ITEM)*)`)
	// foreign are sections of what is not ours.
	foreign = pattern(`RFC_\d+(?:_§|,_section_)\d+(?:\.\d+)*`)
	// stray is what looks like a citation when all that are one are taken away.
	stray = pattern(`§|\b(?:rows?|sections?|rules?)_[A-Z]{0,2}\d|\([A-Z]\d{1,2}(?:(?:,_|-)[A-Z]\d{1,2})*\)`)

	listWord = regexp.MustCompile(`§\d+(?:\.\d+)*|[A-Z]{1,2}\d+[a-z]?|\d+|to\b|-`)
	heading  = regexp.MustCompile(`^#+ (\d+(?:\.\d+)*)\.? `)
	rowID    = regexp.MustCompile("^\\| *\\**`?([A-Z]{0,2}\\d+[a-z]?)`?\\**[^|]*\\|")
	listed   = regexp.MustCompile(`^ *(\d+)[.)] `)
)

// pattern spells a regular expression out: _ is white space, also that between
// two lines of a comment; ITEM and SEP are the parts of a list.
func pattern(text string) *regexp.Regexp {
	for _, part := range []struct{ name, text string }{
		{"ITEM", `(?:§\d+(?:\.\d+)*|(?:rows?|rules?|steps?)_\d+\b(?:SEP\d+\b)*|rows?_ID(?:SEPID)*)`},
		{"ID", `[A-Z]{1,2}\d+[a-z]?\b`},
		{"SEP", `(?:,_(?:and_)?|_and_|_to_|-)`},
		{"_", `[\s/#]+`},
	} {
		text = strings.ReplaceAll(text, part.name, part.text)
	}
	return regexp.MustCompile(text)
}

// spec is what of one specification can be cited.
type spec struct {
	sections map[string]bool
	// rows are ids such as H15; numbered ones belong to a section: "16 9".
	rows map[string]bool
}

func TestCitations(t *testing.T) {
	t.Parallel()
	known, count := readSpecs(t), 0
	for name, text := range treeFiles(t, citing...) {
		if name == "citations_test.go" {
			continue // it has some that are wrong
		}
		check := known.check
		if strings.HasPrefix(name, specs) {
			check = known.checkSpec
		}
		for _, short := range shorthands {
			if strings.HasPrefix(name, short.folder) {
				text = strings.ReplaceAll(text, short.short, short.long)
			}
		}
		count += len(citation.FindAllString(text, -1))
		for _, complaint := range check(name, text) {
			t.Error(complaint)
		}
	}
	if count < 300 {
		t.Errorf("only %d citations found", count)
	}
}

// TestCitationsNotices: a citation that leads nowhere is seen.
func TestCitationsNotices(t *testing.T) {
	t.Parallel()
	known := library{"cart": readSpec("# Cart\n## 1. Wheels\n| # | what |\n|---|---|\n| 1 | round |\n| H2 | black |\n" +
		"### 1.1 Tyres\n1. soft\n```\n# 3. no heading\n```\n")}
	for _, row := range []struct{ text, want string }{
		{"spec cart §1", ""},
		{"spec cart §1.1, §1 row 1 and row H2", ""},
		{"(spec\n\t// cart §1.1 rule 1)", ""},
		{"RFC 7519 §2", ""},
		{"spec cart §3", "no section 3"},
		{"spec cart §1.2", "no section 1.2"},
		{"spec cart §1, §2", "no section 2"},
		{"spec cart §1-§3", "no section 3"},
		{"spec cart row H3", "no row H3"},
		{"spec cart rows H2-H4", "no row H3"},
		{"spec cart §1 row 2", "no row 2 in section 1"},
		{"spec cart §1 rows 1 to 3", "no row 2 in section 1"},
		{"spec cart §1.1 rule 2", "no row 2 in section 1.1"},
		{"spec cart §1, row 1", ""},
		{"spec cart §1, §1.1, rule 1", ""},
		{"spec cart §1, row 999", "no row 999 in section 1"},
		{"spec cart §1, and row 999", "no row 999 in section 1"},
		{"spec cart §1, rows 1 and 999", "no row 999 in section 1"},
		{"spec cart §1 and row H2, row 999", "no row 999 in section 1"},
		{"spec cart row 1", "row 1 of no section"},
		{"spec cart, row 1", "is no citation"},
		{"spec cart section 99", "is no citation"},
		{"spec cart, sections 1 and 99", "is no citation"},
		{"spec cart §1, section 99", "is no citation"},
		{"section 99 of spec cart", "is no citation"},
		{"as row 999 says", "is no citation"},
		{"# as rule\n# 999 says", "is no citation"},
		{"RFC 7519, section 2.1", ""},
		{"spec bike §1", "no specification"},
		{"spec §1", "is no citation"},
		{"cart §1", "is no citation"},
		{"row H2", "is no citation"},
		{"as promised (H2)", "is no citation"},
		{"spec cart §1; §1.1", "is no citation"},
	} {
		got := strings.Join(known.check("file.go", row.text), "\n")
		if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%q: got %q, want %q", row.text, got, row.want)
		}
	}
	for _, row := range []struct{ text, want string }{
		{"as §1.1 and `cart.md` §1, §1.1 say", ""},
		{"see `bike.md` §1", "no specification"},
		{"see §2", "no section 2"},
		{"see `cart.md` §1, §4", "no section 4"},
	} {
		known["own"] = spec{sections: map[string]bool{"1.1": true}}
		got := strings.Join(known.checkSpec(specs+"own.md", row.text), "\n")
		if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%q in a specification: got %q, want %q", row.text, got, row.want)
		}
	}
}

// library are the specifications by name.
type library map[string]spec

func readSpecs(t *testing.T) library {
	t.Helper()
	known := library{}
	for name, text := range treeFiles(t, ".md") {
		if strings.HasPrefix(name, specs) {
			known[strings.TrimSuffix(path.Base(name), ".md")] = readSpec(text)
		}
	}
	return known
}

func readSpec(text string) spec {
	s := spec{sections: map[string]bool{}, rows: map[string]bool{}}
	section, fenced := "", false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if fenced {
			continue
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			section = m[1]
			s.sections[section] = true
		}
		m := rowID.FindStringSubmatch(line)
		if m == nil {
			m = listed.FindStringSubmatch(line)
		}
		if m == nil {
			continue
		}
		s.rows[m[1]] = true
		for in := section; in != ""; in, _ = cutLast(in) {
			s.rows[in+" "+m[1]] = true
		}
	}
	return s
}

// cutLast takes the last number off a section's.
func cutLast(section string) (string, bool) {
	i := strings.LastIndexByte(section, '.')
	if i < 0 {
		return "", false
	}
	return section[:i], true
}

// check returns what is wrong with a file's citations.
func (l library) check(name, text string) []string {
	var found []string
	complain := func(offset int, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s:%d: ", name, lineOf(text, offset))+fmt.Sprintf(format, args...))
	}
	rest := []byte(text)
	blank := func(place []int) {
		for i := place[0]; i < place[1]; i++ {
			if rest[i] != '\n' {
				rest[i] = ' '
			}
		}
	}
	for _, place := range citation.FindAllStringSubmatchIndex(text, -1) {
		blank(place)
		cited, list := text[place[2]:place[3]], text[place[4]:place[5]]
		s, ok := l[cited]
		if !ok {
			complain(place[0], "no specification %q in %s", cited, specs)
			continue
		}
		for _, missing := range s.missing(list) {
			complain(place[0], "spec %s has %s", cited, missing)
		}
	}
	for _, place := range foreign.FindAllStringIndex(text, -1) {
		blank(place)
	}
	for _, place := range stray.FindAllIndex(rest, -1) {
		end := min(place[1]+12, len(text))
		complain(place[0], `%q is no citation; write "spec NAME §N.M" or "spec NAME row H15"`,
			strings.ToValidUTF8(text[place[0]:end], ""))
	}
	return found
}

// missing goes through the list of a citation.
func (s spec) missing(list string) []string {
	var missing []string
	section, last, isRange := "", "", false
	if !strings.HasPrefix(list, "§") && list[strings.IndexAny(list, "0123456789")-1] <= ' ' {
		return []string{"row " + listWord.FindString(list) + " of no section"}
	}
	for _, word := range listWord.FindAllString(list, -1) {
		switch number, isSection := strings.CutPrefix(word, "§"); {
		case word == "to" || word == "-":
			isRange = true
			continue
		case isSection:
			section = number
			if !s.sections[number] {
				missing = append(missing, "no section "+number)
			}
		case word[0] >= 'A':
			for _, id := range between(last, word, isRange) {
				if !s.rows[id] {
					missing = append(missing, "no row "+id)
				}
			}
		default:
			for _, id := range between(last, word, isRange) {
				if !s.rows[section+" "+id] {
					missing = append(missing, fmt.Sprintf("no row %s in section %s", id, section))
				}
			}
		}
		last, isRange = word, false
	}
	return missing
}

// between are the ids after from, up to to: S3, S4 for S2 and S4.
func between(from, to string, isRange bool) []string {
	letters := strings.TrimRight(to, "0123456789")
	first, err := strconv.Atoi(strings.TrimPrefix(from, letters))
	last, err2 := strconv.Atoi(strings.TrimPrefix(to, letters))
	if !isRange || err != nil || err2 != nil {
		return []string{to}
	}
	var ids []string
	for n := first + 1; n <= last; n++ {
		ids = append(ids, letters+strconv.Itoa(n))
	}
	return ids
}

// inSpec is how a specification cites: its own sections by number, those of
// another one after its name.
var inSpec = regexp.MustCompile("(?:`?([a-z]+(?:-[a-z]+)*)(?:\\.md)?`? )?" +
	`(§\d+(?:\.\d+)*(?:(?:, | and |, and |-|–)§?\d+(?:\.\d+)*\b)*)`)

// inSpecNumber is one section of such a list.
var inSpecNumber = regexp.MustCompile(`[§–-](\d+(?:\.\d+)*)`)

// checkSpec is check for the specifications themselves.
func (l library) checkSpec(name, text string) []string {
	var found []string
	for _, place := range inSpec.FindAllStringSubmatchIndex(text, -1) {
		cited := strings.TrimSuffix(path.Base(name), ".md")
		if place[2] >= 0 {
			before := text[place[2]:place[3]]
			if _, ok := l[before]; ok {
				cited = before
			} else if strings.HasPrefix(text[place[3]:], ".md") {
				found = append(found, fmt.Sprintf("%s:%d: no specification %q", name, lineOf(text, place[0]), before))
				continue
			}
		}
		line := lineOf(text, place[0])
		for _, number := range inSpecNumber.FindAllStringSubmatch(text[place[4]:place[5]], -1) {
			if !l[cited].sections[number[1]] {
				found = append(found, fmt.Sprintf("%s:%d: spec %s has no section %s", name, line, cited, number[1]))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
