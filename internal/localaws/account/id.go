package account

import (
	"encoding/base64"
	"strings"
)

// base32Alphabet is that of AWS's identifiers (spec issuer-and-sts §13).
const base32Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// NewRoleID returns a role's unique id: AROA and 17 characters.
func NewRoleID() string { return "AROA" + randomID(17) }

// AdminID is the unique id of the local administrator.
const AdminID = "AIDAROLECALLADMINUSER"

func randomID(n int) string {
	id := randomBytes(n)
	for i := range id {
		id[i] = base32Alphabet[id[i]&31]
	}
	return string(id)
}

// randomSecret returns a secret key: 40 characters of base64.
func randomSecret() string { return base64.StdEncoding.EncodeToString(randomBytes(30)) }

func roleKey(name string) string { return strings.ToLower(name) }
