package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/finding"
)

// gap is between two columns.
const gap = "  "

// tableOf has one line for each finding, with what to do below its message. There
// is no column of places if no finding has one. What is suppressed is left out.
func tableOf(all []finding.Finding) string {
	findings := slices.DeleteFunc(slices.Clone(all), func(f finding.Finding) bool { return f.Suppressed != "" })
	rows := make([][]string, len(findings))
	widths := make([]int, 3)
	for i := range findings {
		f := &findings[i]
		place := strings.ReplaceAll(printable(placeOf(f.Place)), "\n", " ")
		rows[i] = []string{place, string(f.Severity), strings.TrimSpace(f.Code + " " + f.Rule)}
		for j, cell := range rows[i] {
			widths[j] = max(widths[j], utf8.RuneCountInString(cell))
		}
	}
	before := 0 // the column of messages
	for _, width := range widths {
		if width > 0 {
			before += width + len(gap)
		}
	}
	margin := strings.Repeat(" ", before)
	var out strings.Builder
	for i := range findings {
		for j, cell := range rows[i] {
			if widths[j] > 0 {
				out.WriteString(cell + strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell)) + gap)
			}
		}
		for j, note := range notesOf(&findings[i]) {
			if j > 0 {
				out.WriteString(margin)
			}
			// What has several lines stays in its column, further in than what comes after it.
			out.WriteString(strings.ReplaceAll(printable(note), "\n", "\n"+margin+gap) + "\n")
		}
	}
	return out.String()
}

// placeOf is FILE:LINE:COLUMN, as far as it is known.
func placeOf(p finding.Place) string {
	text := p.File
	if p.Line > 0 {
		text = strings.TrimPrefix(text+":"+strconv.Itoa(p.Line), ":")
	}
	if p.Line > 0 && p.Column > 0 {
		text += ":" + strconv.Itoa(p.Column)
	}
	return text
}

// notesOf are the message, and what to do about it.
func notesOf(f *finding.Finding) []string {
	message := f.Message
	if f.AWS != "" {
		message += " (AWS says: " + f.AWS + ")"
	}
	notes := []string{message}
	if f.Advice != "" {
		notes = append(notes, "fix: "+f.Advice)
	}
	if fix := f.Suggested; fix != nil {
		decide := ""
		if fix.Manual {
			decide = " (yours to decide or to fill in)"
		}
		notes = append(notes, fmt.Sprintf("fix: %s: at %d:%d write %s%s",
			fix.Description, fix.Line, fix.Column, shortened(fix), decide))
	}
	if f.Command != "" {
		notes = append(notes, "run: "+f.Command)
	}
	return notes
}

// longest is how much of an edit stands in the table.
const longest = 120

// shortened is what an edit changes, without what stays the same around it. What has
// several lines, or is long, is only counted: a table is no place for it.
func shortened(fix *finding.Fix) string {
	text := strings.TrimSpace(fix.New)
	lines := strings.Count(text, "\n") + 1
	switch {
	case lines > 1:
		return fmt.Sprintf("%d lines, which -o json shows", lines)
	case utf8.RuneCountInString(text) > longest:
		return fmt.Sprintf("%d characters, which -o json shows", utf8.RuneCountInString(text))
	}
	return text
}

// printable replaces what could change a terminal, or the table: findings quote
// what others wrote.
func printable(text string) string {
	return strings.Map(func(char rune) rune {
		switch {
		case char == '\n':
			return char
		case char == '\t':
			return ' '
		case unicode.IsControl(char):
			return unicode.ReplacementChar
		}
		return char
	}, text)
}
