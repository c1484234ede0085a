package awsauth

import "strings"

// quick reads the plain forms in which nearly every list is written, and reports false
// for all others: blocks of known keys with plain or simply quoted values, and groups as
// a block or a flow list. It says nothing that slow would not say: TestQuick holds it to
// that. The YAML library takes most of a tenth of a second for a megabyte.
func quick(key Key, text string) ([]entry, bool) {
	if strings.HasPrefix(text, "[") && key != Accounts {
		return quickFlow(text)
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	q := quickReader{text: text, key: key, indent: -1, groups: -1}
	q.entries = make([]entry, 0, 1+strings.Count(text, "arn:"))
	for q.next() {
		if !q.read() {
			return nil, false
		}
	}
	return q.entries, !q.failed && len(q.entries) > 0 && !q.open
}

type quickReader struct {
	text string
	key  Key

	// The line that is looked at: where its text begins, and the text.
	number, column int
	line           string
	failed         bool

	entries []entry
	// indent is the column of the dashes, or -1 before the first.
	indent int
	// open says that the last line was groups: without a value, and groups is the column
	// of the dashes of what follows, or -1.
	open   bool
	groups int
	// seen are the keys that the entry has.
	seen uint8
}

// next goes on to the next line that is not empty or a comment.
func (q *quickReader) next() bool {
	for q.text != "" {
		end := strings.IndexByte(q.text, '\n')
		line := q.text[:end]
		q.text = q.text[end+1:]
		q.number++
		q.column = 0
		for q.column < len(line) && line[q.column] == ' ' {
			q.column++
		}
		q.line = line[q.column:]
		if q.line != "" && q.line[0] != '#' {
			return true
		}
		for i := range len(q.line) {
			// What a comment may hold is the library's to say.
			if q.line[i] < ' ' || q.line[i] > '~' {
				q.failed = true
				return false
			}
		}
	}
	return false
}

func (q *quickReader) read() bool {
	dash := len(q.line) > 2 && q.line[0] == '-' && q.line[1] == ' ' && q.line[2] != ' '
	if q.groups >= 0 && len(q.entries) > 0 && dash && q.column == q.groups && q.groups > q.indent {
		return q.group(q.line[2:])
	}
	if q.open {
		// What follows groups: must be its first item.
		if !dash || q.column < q.indent+2 {
			return false
		}
		q.open, q.groups = false, q.column
		return q.group(q.line[2:])
	}
	q.groups = -1
	switch {
	case dash && (q.indent < 0 || q.column == q.indent):
		q.indent = q.column
		q.entries = append(q.entries, entry{line: q.number})
		q.seen = 0
		if q.key == Accounts {
			item, ok := quickAccount(q.line[2:])
			q.entries[len(q.entries)-1].item = item
			return ok
		}
		return q.field(q.line[2:])
	case !dash && q.key != Accounts && q.indent >= 0 && q.column == q.indent+2:
		return q.field(q.line)
	}
	return false
}

func (q *quickReader) group(text string) bool {
	v, ok := quickValue(text, false)
	e := &q.entries[len(q.entries)-1]
	e.groups = append(e.groups, v)
	return ok
}

// field reads a key and its value.
func (q *quickReader) field(line string) bool {
	key, rest, has := strings.Cut(line, ":")
	if !has {
		return false
	}
	if len(key) > 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	e := &q.entries[len(q.entries)-1]
	to, bit := e.quickField(key)
	if bit == 0 {
		return false
	}
	if q.seen&bit != 0 {
		return false
	}
	q.seen |= bit
	if to == nil && rest == "" {
		q.open = true
		return true
	}
	if len(rest) < 2 || rest[0] != ' ' {
		return false
	}
	rest = strings.TrimLeft(rest, " ")
	if to == nil {
		return e.quickGroups(rest)
	}
	var ok bool
	*to, ok = quickValue(rest, false)
	return ok
}

// quickGroups reads a flow list of groups on one line.
func (e *entry) quickGroups(text string) bool {
	if len(text) < 2 || text[0] != '[' || text[len(text)-1] != ']' {
		return false
	}
	text = text[1 : len(text)-1]
	if text == "" {
		e.groups = []value{}
		return true
	}
	for more := true; more; {
		var item string
		item, text, more = strings.Cut(text, ",")
		v, ok := quickValue(strings.Trim(item, " "), true)
		if !ok {
			return false
		}
		e.groups = append(e.groups, v)
	}
	return true
}

// quickAccount reads an item of mapAccounts.
func quickAccount(text string) (value, bool) {
	bare := text
	k := other
	if len(text) > 2 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0] {
		bare, k = text[1:len(text)-1], isText
	}
	if len(bare) != 12 {
		return value{}, false
	}
	for i := range len(bare) {
		if bare[i] < '0' || bare[i] > '9' {
			return value{}, false
		}
	}
	return value{k, bare}, true
}

// plainByte says which characters a quick value may have; in flow lists those that end a
// value there may not be in one without quotes.
func plainByte(c byte) bool {
	switch c {
	case ':', '/', '_', '+', '=', ',', '.', '@', '-', '{', '}':
		return true
	}
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// quickValue reads a value on one line.
func quickValue(line string, flow bool) (value, bool) {
	if line == "" {
		return value{}, false
	}
	quote := line[0]
	if quote == '"' || quote == '\'' {
		if len(line) < 2 || line[len(line)-1] != quote {
			return value{}, false
		}
		inner := line[1 : len(line)-1]
		return value{isText, inner}, isInner(inner)
	}
	if quote < 'A' || quote > 'z' || quote > 'Z' && quote < 'a' {
		return value{}, false
	}
	for i := range len(line) {
		if c := line[i]; !plainByte(c) || flow && (c == ',' || c == '{' || c == '}') {
			return value{}, false
		}
	}
	if line[len(line)-1] == ':' || isBool(line) || isNull(line) {
		return value{}, false
	}
	return value{isText, line}, true
}

// isInner reports whether what is between quotes means itself.
func isInner(text string) bool {
	for i := range len(text) {
		if c := text[i]; !plainByte(c) && (c != ' ' || i == 0 || i == len(text)-1) {
			return false
		}
	}
	return true
}

// quickField is where the value of a key goes, and the key's bit; nil for groups, and no
// bit for keys that are not known.
func (e *entry) quickField(key string) (*value, uint8) {
	switch key {
	case "rolearn":
		return &e.roleARN, 1
	case "userarn":
		return &e.userARN, 2
	case "username":
		return &e.username, 4
	case "groups":
		return nil, 8
	}
	return nil, 0
}

func isNull(word string) bool { return word == "null" || word == "Null" || word == "NULL" }
