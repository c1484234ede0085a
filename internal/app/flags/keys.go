package flags

import (
	"strings"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/token"
)

// ValidateFurther refuses two places for the keys of one issuer: it would be left
// to chance which counts. first is the issuer that has keys already, if it is known.
func ValidateFurther(flag, first string, also []string) error {
	if err := checkTokenIssuer(first); err != nil {
		return err
	}
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
		if err := checkTokenIssuer(issuer); err != nil {
			return err
		}
	}
	return nil
}

// checkTokenIssuer refuses a URL that no token names; what is not one is left to those who read
// keys there.
func checkTokenIssuer(issuer string) error {
	if token.CheckIssuer(issuer) != nil {
		return nil //nolint:nilerr // not this rule's
	}
	if err := token.CheckTokenIssuer(issuer); err != nil {
		return cli.Usage("%w", err)
	}
	return nil
}
