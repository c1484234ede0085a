package rawjson

import "unicode/utf8"

// Twice finds a member that an object of text, at any depth, has more than once, names
// compared without regard to letter case: of such a text two readers may read two things.
// A text that is not JSON has none.
func Twice(text []byte) (name string, found bool) {
	r := NewReader(text)
	if err := r.twice(&name, &found); err != nil || r.End() != nil {
		return "", false
	}
	return name, found
}

func (r *Reader) twice(name *string, found *bool) error {
	switch r.Kind() {
	case '{':
		seen := map[string]bool{}
		return r.Object(func(member []byte) error {
			key := foldName(member)
			if seen[key] && !*found {
				*name, *found = string(member), true
			}
			seen[key] = true
			return r.twice(name, found)
		})
	case '[':
		return r.Array(func(int) error { return r.twice(name, found) })
	}
	return r.Skip()
}

// foldName is one for all names that encoding/json takes for one: it folds ASCII letters,
// and the two others that fold to one.
func foldName(name []byte) string {
	folded := make([]byte, 0, len(name))
	for _, c := range string(name) {
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '\u017f':
			c = 's'
		case c == '\u212a':
			c = 'k'
		}
		folded = utf8.AppendRune(folded, c)
	}
	return string(folded)
}
