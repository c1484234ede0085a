package callerid

import (
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

// SessionNameOf makes a name for the sessions of roles that an identity assumes, so that
// logs tell people apart: the user's name, or that of the session it is. It is a label
// that anybody who assumes a role may choose, and proves nothing. It is empty for what is no
// identity.
func SessionNameOf(text string) string {
	named, kind, err := Canonical(text)
	if err != nil {
		return ""
	}
	if kind == Root {
		return SessionNameFor(named.Resource)
	}
	return SessionNameFor(text[strings.LastIndexByte(text, '/')+1:])
}

// SessionNameFor makes of a text the name of a session that STS takes; empty of an empty
// one.
func SessionNameFor(text string) string {
	name := arn.SessionName(text)
	if name != "" && len(name) < arn.MinSessionName {
		return name + strings.Repeat("-", arn.MinSessionName-len(name))
	}
	return name
}
