package account

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// base32Alphabet is that of AWS's identifiers (spec issuer-and-sts §13).
const base32Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// NewRoleID returns a role's unique id: AROA and 17 characters.
func NewRoleID() string { return NewID("AROA") }

// NewUserID returns a user's unique id: AIDA and 17 characters.
func NewUserID() string { return NewID("AIDA") }

// NewGroupID returns a group's unique id: AGPA and 17 characters.
func NewGroupID() string { return NewID("AGPA") }

// NewPolicyID returns a managed policy's unique id: ANPA and 17 characters.
func NewPolicyID() string { return NewID("ANPA") }

// NewKey returns a new access key of a user of this account.
func (a *Account) NewKey(user string, now time.Time) *AccessKey {
	return &AccessKey{
		ID:      newKeyID("AKIA", a.ID),
		Secret:  credential.NewSecret(randomSecret()),
		User:    user,
		Created: now.UTC(),
	}
}

// keyHead is the bit that AWS's newer key ids begin with; the account's number
// follows in 40 bits.
const (
	keyHead     = 1 << 47
	accountBits = 7 // how many bits follow the number in the first six bytes
)

// newKeyID returns an access key id that says, as those of AWS, whose it is.
func newKeyID(prefix, account string) string {
	number, _ := strconv.ParseUint(account, 10, 40) // 12 digits
	random := randomBytes(10)
	head := keyHead | number<<accountBits | uint64(random[5])&(1<<accountBits-1)
	for i := range 6 {
		random[i] = byte(head >> (8 * (5 - i)))
	}
	return prefix + base32.StdEncoding.EncodeToString(random)
}

// AccountOfKey returns the account that an access key id says it is of; empty
// for ids of the older kind and those that nobody made.
func AccountOfKey(id string) string {
	if len(id) != 20 {
		return ""
	}
	decoded, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil || decoded[0]&0x80 == 0 {
		return ""
	}
	head := uint64(0)
	for _, one := range decoded[:6] {
		head = head<<8 | uint64(one)
	}
	account := fmt.Sprintf("%012d", (head&^keyHead)>>accountBits)
	if len(account) != 12 {
		return ""
	}
	return account
}

// NewID returns a unique id as IAM makes them: the four letters of a kind and 17
// characters.
func NewID(kind string) string {
	id := randomBytes(17)
	for i := range id {
		id[i] = base32Alphabet[id[i]&31]
	}
	return kind + string(id)
}

// randomSecret returns a secret key: 40 characters of base64.
func randomSecret() string { return base64.StdEncoding.EncodeToString(randomBytes(30)) }

func randomBytes(n int) []byte {
	random := make([]byte, n)
	_, _ = rand.Read(random) // never fails, says its documentation
	return random
}

// UniqueName is the name of one of IAM's entities as it is unique: in any letter
// case.
func UniqueName(name string) string { return strings.ToLower(name) }

func lastSegment(text string) string { return text[strings.LastIndexByte(text, '/')+1:] }
