package credential_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/credential"
)

func TestSecretNeverShows(t *testing.T) {
	t.Parallel()
	const text = "wJalrXUtnFEMI"
	secret := credential.NewSecret(text)
	aws := credential.AWS{AccessKeyID: "AKIA", SecretKey: secret, SessionToken: secret}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", secret)
		fmt.Fprintf(&out, verb+"\n", &secret)
		fmt.Fprintf(&out, verb+"\n", aws)
	}
	for _, value := range []any{secret, aws, &aws, map[string]any{"k": secret}} {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", secret, "all", aws)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secret, "all", aws)

	shown := out.String()
	if strings.Contains(shown, text) || strings.Contains(shown, fmt.Sprintf("%x", text)) {
		t.Errorf("the secret shows in:\n%s", shown)
	}
	if !strings.Contains(shown, "REDACTED") {
		t.Errorf("nothing says REDACTED in:\n%s", shown)
	}
}

func TestSecretEqual(t *testing.T) {
	t.Parallel()
	a := credential.NewSecret("a")
	if !a.Equal(credential.NewSecret("a")) {
		t.Error("equal secrets differ")
	}
	for _, other := range []string{"", "b", "aa"} {
		if a.Equal(credential.NewSecret(other)) {
			t.Errorf("%q equals %q", "a", other)
		}
	}
}
