package awsauth

import "strings"

// quickFlow reads a list that is written as JSON, as some tools do, with the known keys
// and strings without backslashes. All others it leaves to the library.
func quickFlow(text string) ([]entry, bool) {
	f := flowReader{text: text, line: 1}
	entries := make([]entry, 0, 1+strings.Count(text, "{\""))
	f.is('[')
	for more := true; more; {
		f.blanks()
		e := entry{line: f.line}
		if !f.is('{') || !f.fields(&e) {
			return nil, false
		}
		entries = append(entries, e)
		f.blanks()
		more = f.is(',')
	}
	if !f.is(']') {
		return nil, false
	}
	f.blanks()
	return entries, f.text == ""
}

// flowReader holds what is not read yet, and the number of its line.
type flowReader struct {
	text string
	line int
}

func (f *flowReader) is(c byte) bool {
	if f.text == "" || f.text[0] != c {
		return false
	}
	f.text = f.text[1:]
	return true
}

func (f *flowReader) blanks() {
	for f.text != "" && (f.text[0] == ' ' || f.text[0] == '\n') {
		if f.text[0] == '\n' {
			f.line++
		}
		f.text = f.text[1:]
	}
}

// quoted reads a string in double quotes of the characters that quickValue takes.
func (f *flowReader) quoted() (string, bool) {
	if !f.is('"') {
		return "", false
	}
	end := strings.IndexByte(f.text, '"')
	if end < 0 {
		return "", false
	}
	inner := f.text[:end]
	f.text = f.text[end+1:]
	return inner, isInner(inner)
}

func (f *flowReader) fields(e *entry) bool {
	seen := uint8(0)
	for more := true; more; {
		f.blanks()
		key, ok := f.quoted()
		// A key and its colon are on one line.
		if !ok || !f.is(':') {
			return false
		}
		f.blanks()
		to, bit := e.quickField(key)
		if bit == 0 || seen&bit != 0 {
			return false
		}
		seen |= bit
		if to == nil {
			ok = f.groups(e)
		} else {
			to.kind = isText
			to.text, ok = f.quoted()
		}
		if !ok {
			return false
		}
		f.blanks()
		more = f.is(',')
	}
	return f.is('}')
}

func (f *flowReader) groups(e *entry) bool {
	if !f.is('[') {
		return false
	}
	f.blanks()
	if f.is(']') {
		return true
	}
	for more := true; more; {
		f.blanks()
		group, ok := f.quoted()
		if !ok {
			return false
		}
		e.groups = append(e.groups, value{isText, group})
		f.blanks()
		more = f.is(',')
	}
	return f.is(']')
}
