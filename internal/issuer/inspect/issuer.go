package inspect

import (
	"encoding/json"

	"github.com/rolecall/rolecall/internal/fault"
)

// IssuerOf returns the issuer that a discovery document names: what the tokens say,
// whatever was typed (spec issuer-and-sts §15.2 rule 7). place is where it is from.
func IssuerOf(place string, discovery []byte) (string, error) {
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(discovery, &document); err != nil || document.Issuer == "" {
		return "", fault.New(fault.Invalid, "%s is not a discovery document: it names no issuer", place)
	}
	return document.Issuer, nil
}

// CheckNamed is IssuerOf for a document that was fetched from an issuer, which must name
// that one: AWS refuses tokens of another.
func CheckNamed(issuer string, discovery Fetched) error {
	switch {
	case discovery.Err != "":
		return fault.New(fault.Unavailable, "read %s: %s", discovery.URL, discovery.Err).
			Hint("rolecall issuer verify --url %s says what is wrong", issuer)
	case discovery.Certificate.Err != "":
		return fault.New(fault.Denied, "read %s: %s", discovery.URL, discovery.Certificate.Err).
			Hint("--issuer-ca FILE trusts a private authority")
	case discovery.Status != 200:
		return fault.New(fault.Unavailable, "read %s: status %d", discovery.URL, discovery.Status).
			Hint("rolecall issuer verify --url %s says what is wrong", issuer)
	}
	named, err := IssuerOf(discovery.URL, discovery.Text)
	if err != nil {
		return err
	}
	if named != issuer {
		return fault.New(fault.Conflict,
			"the document of %s names the issuer %s: AWS accepts no token of it", issuer, named).
			Hint("name the issuer as its document does, --discovery %s, or fix what is published", named)
	}
	return nil
}
