// Package rawjson walks JSON text in one pass without decoding what is not
// asked for: the review of a pod that gets nothing costs no more than reading
// it.
//
// It checks the grammar of everything it passes over, as encoding/json does,
// but builds no values, matches names case-sensitively and does not write JSON.
package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// maxDepth is encoding/json's own.
const maxDepth = 10000

// plain are the characters that stand for themselves in a string.
var plain = func() (table [256]bool) {
	for c := ' '; c < 0x80; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

// Reader stands at a value of a text. Each method consumes one value. The first
// error ends it: methods after that return the same error.
type Reader struct {
	text  []byte
	at    int
	depth int
	err   error
}

// NewReader stands at the first value of text.
func NewReader(text []byte) *Reader { return &Reader{text: text} }

// Kind tells what the next value is by its first byte: one of { [ " t f n, 0 for
// a number (or no value at all).
func (r *Reader) Kind() byte {
	r.space()
	if r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case '{', '[', '"', 't', 'f', 'n':
			return c
		}
	}
	return 0
}

// Null consumes the next value if it is null.
func (r *Reader) Null() bool {
	return r.Kind() == 'n' && r.Skip() == nil
}

// End fails if anything but white space is left.
func (r *Reader) End() error {
	r.space()
	if r.err == nil && r.at < len(r.text) {
		return r.fail("the end of the text")
	}
	return r.err
}

// Object consumes an object; member is called at each of its values and must
// consume it. The name is valid during the call only. null has no members.
func (r *Reader) Object(member func(name []byte) error) error {
	if r.Null() {
		return nil
	}
	if !r.open('{', "an object") {
		return r.err
	}
	for first := true; ; first = false {
		more, ok := r.next('}', first)
		if !ok || !more {
			return r.err
		}
		name, err := r.name()
		if err != nil {
			return err
		}
		if r.colon() != nil {
			return r.err
		}
		if err := member(name); err != nil {
			return r.stop(err)
		}
		if r.err != nil {
			return r.err
		}
	}
}

// Array consumes an array; element is called at each of its values and must
// consume it. null has no elements.
func (r *Reader) Array(element func(index int) error) error {
	if r.Null() {
		return nil
	}
	if !r.open('[', "an array") {
		return r.err
	}
	for index := 0; ; index++ {
		more, ok := r.next(']', index == 0)
		if !ok || !more {
			return r.err
		}
		if err := element(index); err != nil {
			return r.stop(err)
		}
		if r.err != nil {
			return r.err
		}
	}
}

// String consumes a string. null is the empty string.
func (r *Reader) String() (string, error) {
	if r.Null() {
		return "", nil
	}
	text, err := r.name()
	return string(text), err
}

// Bytes is String without a copy where none is needed: the result may be part of
// the reader's text.
func (r *Reader) Bytes() ([]byte, error) {
	if r.Null() {
		return nil, nil
	}
	return r.name()
}

// At returns how far the reader has come, for Text.
func (r *Reader) At() int {
	r.space()
	return r.at
}

// Text returns what was consumed since the reader was at start.
func (r *Reader) Text(start int) []byte { return r.text[start:r.at] }

// Strings consumes an object whose values are strings; nil for null.
func (r *Reader) Strings() (map[string]string, error) {
	if r.Null() {
		return nil, nil
	}
	members := map[string]string{}
	err := r.Object(func(name []byte) error {
		key := string(name)
		value, err := r.String()
		members[key] = value
		return err
	})
	return members, err
}

// Raw consumes any value and returns its text, which is part of the reader's.
func (r *Reader) Raw() ([]byte, error) {
	r.space()
	start := r.at
	if err := r.Skip(); err != nil {
		return nil, err
	}
	return r.text[start:r.at], nil
}

// Skip consumes any value.
func (r *Reader) Skip() error {
	if r.err != nil {
		return r.err
	}
	switch r.Kind() {
	case '{':
		return r.skipObject()
	case '[':
		return r.Array(func(int) error { return r.Skip() })
	case '"':
		_, _, err := r.quoted()
		return err
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'n':
		return r.word("null")
	}
	return r.number()
}

// skipObject is Object without decoding names.
func (r *Reader) skipObject() error {
	if !r.open('{', "an object") {
		return r.err
	}
	for first := true; ; first = false {
		more, ok := r.next('}', first)
		if !ok || !more {
			return r.err
		}
		if _, _, err := r.quoted(); err != nil {
			return err
		}
		if r.colon() != nil || r.Skip() != nil {
			return r.err
		}
	}
}

// open consumes an opening bracket.
func (r *Reader) open(bracket byte, want string) bool {
	if r.Kind() != bracket || r.err != nil {
		_ = r.fail(want)
		return false
	}
	if r.depth++; r.depth > maxDepth {
		_ = r.stop(errors.New("the JSON is nested too deeply"))
		return false
	}
	r.at++
	return true
}

// next consumes what stands between values: a comma or the closing bracket.
func (r *Reader) next(closing byte, first bool) (more, ok bool) {
	r.space()
	switch {
	case r.at >= len(r.text):
		_ = r.fail("a value")
		return false, false
	case r.text[r.at] == closing:
		r.at++
		r.depth--
		return false, true
	case first:
		return true, true
	case r.text[r.at] == ',':
		r.at++
		return true, true
	}
	_ = r.fail("a comma")
	return false, false
}

func (r *Reader) colon() error {
	if r.space(); r.at >= len(r.text) || r.text[r.at] != ':' {
		return r.fail("a colon")
	}
	r.at++
	return nil
}

// name consumes a string and decodes it.
func (r *Reader) name() ([]byte, error) {
	inner, escaped, err := r.quoted()
	if err != nil {
		return nil, err
	}
	if !escaped {
		return inner, nil
	}
	var decoded string
	if err := json.Unmarshal(r.text[r.at-len(inner)-2:r.at], &decoded); err != nil {
		return nil, r.stop(err)
	}
	return []byte(decoded), nil
}

// quoted consumes a string and returns what is between its quotes, and whether
// that must be decoded.
func (r *Reader) quoted() (inner []byte, escaped bool, err error) {
	if r.Kind() != '"' || r.err != nil {
		return nil, false, r.fail("a string")
	}
	start := r.at + 1
	for i := start; i < len(r.text); i++ {
		c := r.text[i]
		if plain[c] {
			continue
		}
		switch {
		case c == '"':
			r.at = i + 1
			return r.text[start:i], escaped, nil
		case c == '\\':
			escaped = true
			if i = r.escape(i); i < 0 {
				return nil, false, r.err
			}
		case c < ' ':
			r.at = i
			return nil, false, r.fail("no control character in a string")
		default:
			escaped = true // decoding replaces what is not UTF-8
		}
	}
	r.at = len(r.text)
	return nil, false, r.fail("the end of a string")
}

// escape checks the escape at i and returns its last byte's place, or -1.
func (r *Reader) escape(i int) int {
	if i+1 < len(r.text) {
		if r.text[i+1] != 'u' {
			if bytes.IndexByte([]byte(`"\/bfnrt`), r.text[i+1]) >= 0 {
				return i + 1
			}
		} else if i+5 < len(r.text) && isHex(r.text[i+2:i+6]) {
			return i + 5
		}
	}
	r.at = i
	_ = r.fail("an escape")
	return -1
}

func isHex(digits []byte) bool {
	for _, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

func (r *Reader) word(want string) error {
	if r.err != nil || !bytes.HasPrefix(r.text[r.at:], []byte(want)) {
		return r.fail(want)
	}
	r.at += len(want)
	return nil
}

// number is the grammar of RFC 8259 §6.
func (r *Reader) number() error {
	if r.err != nil {
		return r.err
	}
	r.accept("-")
	switch {
	case r.accept("0"):
	case r.digits():
	default:
		return r.fail("a value")
	}
	if r.accept(".") && !r.digits() {
		return r.fail("a digit")
	}
	if r.accept("eE") {
		r.accept("+-")
		if !r.digits() {
			return r.fail("a digit")
		}
	}
	return nil
}

func (r *Reader) accept(any string) bool {
	if r.at < len(r.text) && bytes.IndexByte([]byte(any), r.text[r.at]) >= 0 {
		r.at++
		return true
	}
	return false
}

func (r *Reader) digits() bool {
	start := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > start
}

func (r *Reader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

func (r *Reader) fail(want string) error {
	if r.at >= len(r.text) {
		return r.stop(errors.New("unexpected end of JSON input"))
	}
	return r.stop(fmt.Errorf("invalid JSON at byte %d: want %s", r.at, want))
}

// stop keeps the first error.
func (r *Reader) stop(err error) error {
	if r.err == nil {
		r.err = err
	}
	return r.err
}
