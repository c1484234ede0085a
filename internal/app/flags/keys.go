package flags

import (
	"strings"

	"github.com/rolecall/rolecall/internal/app/cli"
)

// ValidateFurther refuses two places for the keys of one issuer: it would be left
// to chance which counts. first is the issuer that has keys already, if it is known.
func ValidateFurther(flag, first string, also []string) error {
	seen := map[string]bool{first: first != ""}
	for _, one := range also {
		issuer, place, _ := strings.Cut(one, "=")
		switch {
		case issuer == "" || place == "":
			return cli.Usage("--%s %q: want ISSUER=KEYS", flag, one).
				Hint("KEYS is apiserver, a file or https URL of a JWKS")
		case seen[issuer]:
			return cli.Usage("--%s %q: the issuer has keys already", flag, one)
		}
		seen[issuer] = true
	}
	return nil
}
