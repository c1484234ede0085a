package kubeconfig

import (
	"bytes"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/yamledit"
)

// secret are the members of a kubeconfig that hold secrets, wherever they are: of users,
// and of what authentication providers of older files keep.
var secret = []string{
	"client-key-data", "token", "password", "id-token", "refresh-token", "access-token", "client-secret",
}

// minPiece is how short a piece of a secret may be that is looked for in a file's text.
const minPiece = 4

// WithoutSecrets returns a kubeconfig's text with secrets replaced by a word, to be shown.
// A text that is no kubeconfig becomes empty.
func WithoutSecrets(text []byte) []byte {
	read, err := Parse("kubeconfig", text)
	if err != nil {
		return nil
	}
	var found []string
	for _, d := range read.stream {
		found = secretsOf(d.Root(), found)
	}
	// A value may stand on several lines, in any of YAML's styles: its pieces are looked
	// for, the longest first.
	var pieces []string
	for _, value := range found {
		pieces = append(pieces, strings.FieldsFunc(value, func(c rune) bool { return c <= ' ' || c == '"' || c == '\\' })...)
	}
	slices.SortFunc(pieces, func(a, b string) int { return len(b) - len(a) })
	for _, piece := range pieces {
		if len(piece) >= minPiece {
			text = bytes.ReplaceAll(text, []byte(piece), []byte("REDACTED"))
		}
	}
	return text
}

func secretsOf(n yamledit.Node, found []string) []string {
	for _, item := range n.Items() {
		found = secretsOf(item, found)
	}
	for name, value := range n.Members() {
		isVariable := name == "value" && isSecretName(n.Get("name").Scalar())
		if (isVariable || slices.Contains(secret, name)) && value.Scalar() != "" {
			found = append(found, value.Scalar())
			continue
		}
		found = secretsOf(value, found)
	}
	return found
}

// isSecretName reports whether an environment variable of this name may hold a secret.
func isSecretName(name string) bool {
	name = strings.ToUpper(name)
	for _, word := range []string{"SECRET", "TOKEN", "PASSWORD", "PASSWD", "PRIVATE"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
