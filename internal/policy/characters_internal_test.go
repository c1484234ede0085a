package policy

import (
	"strings"
	"testing"
)

// TestCharactersAreReportedWithTheirText: where a text of JSON begins and ends is
// known in whatever is not JSON, too, and what is suggested is about all of it.
func TestCharactersAreReportedWithTheirText(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, text string
		// want is OLD→NEW for each suggestion, OLD alone for a report without one.
		want []string
	}{
		{"nothing unusual", "{\"a\": \"b\u00ff\"}\r\n\t", nil},
		{"outside of texts", "{\u201ca\u201d: 1}", []string{"\u201c→\"", "\u201d→\""}},
		{"outside, before a text", "{\u2013 \"a\"}", []string{"\u2013→-"}},
		{"a line separator outside", "{\u2028}", []string{"\u2028→\n"}},
		{"in a text", "{\"a\u2013b\": 1}", []string{"\"a\u2013b\"→\"a-b\""}},
		{"twice in a text", "{\"a\u2013\u2013b\": 1}", []string{"\"a\u2013\u2013b\"→\"a--b\""}},
		{"in the next text", "{\"a\": \"\u2013\"}", []string{"\"\u2013\"→\"-\""}},
		{"in two texts", "{\"\u2014\": \"\u2013\"}", []string{"\"\u2014\"→\"-\"", "\"\u2013\"→\"-\""}},
		{"behind an escaped quote", `{"a\"` + "\u2013\": 1}", []string{`"a\"` + "\u2013\"→" + `"a\"-"`}},
		{"before an escaped quote", "{\"\u2013" + `\"b": 1}`, []string{"\"\u2013" + `\"b"→"-\"b"`}},
		{"behind an escaped backslash", `{"a\\": "` + "\u2013\"}", []string{"\"\u2013\"→\"-\""}},
		{"before an escaped backslash", "{\"\u2013" + `\\": "b"}`, []string{"\"\u2013" + `\\"→"-\\"`}},
		{"behind another escape", `{"a\n` + "\u2013\": 1}", []string{`"a\n` + "\u2013\"→" + `"a\n-"`}},
		{"behind an escape and a quote", `{"a\n": "` + "\u2013\"}", []string{"\"\u2013\"→\"-\""}},
		{"a backslash outside, before a text", `\"a` + "\u2013\"", []string{"\"a\u2013\"→\"a-\""}},
		{"a text that ends on no line", "\"a\u2013\nb\"", []string{"\u2013→-"}},
		{"a text that does not end", "\"a\u2013", []string{"\u2013→-"}},
		{"a backslash at the very end", "\"a\u2013\\", []string{"\u2013→-"}},
		{"behind a text that ended on no line", "\"a\n\"\u2013\"", []string{"\"\u2013\"→\"-\""}},
		{"a quote in a text of JSON", "{\"a\u201cb\": 1}", []string{"\"a\u201cb\"→" + `"a\"b"`}},
		{"what has no plain form, and what has", "{\"\u0100\": \u2013}", []string{"\u0100", "\u2013→-"}},
		{
			name: "what has no plain form in a text with what has",
			text: "\"\u2013\u0100\"",
			want: []string{"\"\u2013\u0100\"→\"-\u0100\""},
		},
		{"control characters", "{\x01\x1f}", []string{"\x01", "\x1f"}},
		{"bytes that are no UTF-8", "{\x80\xff}", []string{"\x80", "\xff"}},
		{"a replacement character that was written", "{\ufffd}", []string{"\ufffd"}},
	} {
		d := &decoder{text: []byte(row.text)}
		d.checkCharacters()
		var got []string
		for _, v := range d.violations {
			one := row.text[v.at.start:v.at.end]
			if v.edit != nil {
				one = row.text[v.edit.Start:v.edit.End] + "→" + v.edit.Text
			}
			got = append(got, one)
		}
		if strings.Join(got, "|") != strings.Join(row.want, "|") {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestUnusualNear: the reader of JSON stops at, or a little behind, the character
// that only looks right.
func TestUnusualNear(t *testing.T) {
	t.Parallel()
	const text = "abcd\u201cefgh"
	for offset, named := range map[int]bool{
		0:             false,
		3:             false,
		4:             true,
		5:             true,
		6:             true,
		7:             true,
		8:             false,
		len(text):     false,
		len(text) + 4: false,
	} {
		d := &decoder{text: []byte(text)}
		if got := d.unusualNear(offset); strings.Contains(got, "LEFT DOUBLE QUOTATION MARK") != named {
			t.Errorf("at %d: %q", offset, got)
		}
	}
	at := &decoder{text: []byte("\u201c")}
	if got := at.unusualNear(0); !strings.Contains(got, `write "\""`) {
		t.Errorf("the first and only character: %q", got)
	}
}

// TestASCIITexts: a text with any other byte is examined closely.
func TestASCIITexts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "a \t\r\n~": true, "\x80": false, "é": false, "a\x1f": false, "\x00": false, "\x0b": false,
	} {
		if got := isASCIIText([]byte(text)); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

// TestLoneQuoteIsQuoted: what is to be written is shown as a text, once.
func TestLoneQuoteIsQuoted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{`"`: `"\""`, `"a"`: `"a"`, "-": `"-"`, "": `""`} {
		if got := quoteUnlessQuoted(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
}
