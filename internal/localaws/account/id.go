package account

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// base32Alphabet is that of AWS's identifiers (spec issuer-and-sts §13).
const base32Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// NewRoleID returns a role's unique id: AROA and 17 characters.
func NewRoleID() string { return "AROA" + randomID(17) }

// NewUserID returns a user's unique id: AIDA and 17 characters.
func NewUserID() string { return "AIDA" + randomID(17) }

// NewGroupID returns a group's unique id: AGPA and 17 characters.
func NewGroupID() string { return "AGPA" + randomID(17) }

// NewPolicyID returns a managed policy's unique id: ANPA and 17 characters.
func NewPolicyID() string { return "ANPA" + randomID(17) }

// NewProfileID returns an instance profile's unique id: AIPA and 17 characters.
func NewProfileID() string { return "AIPA" + randomID(17) }

// NewKey returns a new access key of a user.
func NewKey(user string, now time.Time) *AccessKey {
	return &AccessKey{ID: "AKIA" + randomID(16), Secret: credential.NewSecret(randomSecret()), User: user, Created: now.UTC()}
}

func randomID(n int) string {
	id := randomBytes(n)
	for i := range id {
		id[i] = base32Alphabet[id[i]&31]
	}
	return string(id)
}

// randomSecret returns a secret key: 40 characters of base64.
func randomSecret() string { return base64.StdEncoding.EncodeToString(randomBytes(30)) }

func randomBytes(n int) []byte {
	random := make([]byte, n)
	_, _ = rand.Read(random) // never fails, says its documentation
	return random
}

// entityKey is the name of a user or role as it is unique: in any letter case.
func entityKey(name string) string { return strings.ToLower(name) }

func lastSegment(text string) string { return text[strings.LastIndexByte(text, '/')+1:] }
