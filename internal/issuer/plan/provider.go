package plan

import "github.com/rolecall/rolecall/internal/lazyregexp"

// thumbprint is as IAM has it.
var thumbprint = lazyregexp.New(`^[0-9A-Fa-f]{40}$`)

// IsThumbprint reports whether IAM accepts a text as a thumbprint of a provider: the SHA-1
// of a certificate in hexadecimal digits.
func IsThumbprint(text string) bool { return thumbprint.MatchString(text) }

// IsAudience reports whether IAM accepts a text as a client id of a provider.
func IsAudience(text string) bool { return text != "" && len(text) <= 255 }
