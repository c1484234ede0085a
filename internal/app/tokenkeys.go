package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/follow"
)

// keySource is where the keys of one issuer of the cluster's tokens come from. client
// is not used for a file or URL.
func keySource(client kubernetes.Interface, place, issuer string) follow.KeySource {
	if place == keysAPIServer {
		return apiServerKeys(client)
	}
	return keysAt(place, issuer)
}

// furtherIssuers are ISSUER=KEYS each, which have been validated.
func furtherIssuers(client kubernetes.Interface, also []string) []follow.Further {
	var all []follow.Further
	for _, one := range also {
		issuer, place, _ := strings.Cut(one, "=")
		all = append(all, follow.Further{Issuer: issuer, Keys: keySource(client, place, issuer)})
	}
	return all
}

// validateFurther refuses two places for the keys of one issuer: it would be left
// to chance which counts. first is the issuer that has keys already, if it is known.
func validateFurther(flag, first string, also []string) error {
	seen := map[string]bool{first: first != ""}
	for _, one := range also {
		issuer, place, _ := strings.Cut(one, "=")
		switch {
		case issuer == "" || place == "":
			return usage("--%s %q: want ISSUER=KEYS", flag, one).Hint("KEYS is apiserver, a file or https URL of a JWKS")
		case seen[issuer]:
			return usage("--%s %q: the issuer has keys already", flag, one)
		}
		seen[issuer] = true
	}
	return nil
}

// keysAt are the keys at an https URL or in a file, which do not say whose they
// are.
func keysAt(place, issuer string) follow.KeySource {
	if strings.HasPrefix(place, "https://") {
		return func(ctx context.Context) (string, []byte, error) {
			document, err := download(ctx, place)
			return issuer, document, err
		}
	}
	return func(context.Context) (string, []byte, error) {
		document, err := os.ReadFile(place)
		return issuer, document, err
	}
}

// apiServerKeys asks the API server, with our own account, for keys and for the
// issuer they belong to.
func apiServerKeys(client kubernetes.Interface) follow.KeySource {
	return func(ctx context.Context) (string, []byte, error) {
		get := client.Discovery().RESTClient().Get
		text, err := get().AbsPath("/.well-known/openid-configuration").SetHeader("Accept", "application/json").DoRaw(ctx)
		if err != nil {
			return "", nil, err
		}
		var discovery struct{ Issuer string }
		if err := json.Unmarshal(text, &discovery); err != nil {
			return "", nil, err
		}
		document, err := get().AbsPath("/openid/v1/jwks").SetHeader("Accept", "application/jwk-set+json").DoRaw(ctx)
		return discovery.Issuer, document, err
	}
}

// download reads a small document.
func download(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers with status %d", url, response.StatusCode)
	}
	return io.ReadAll(io.LimitReader(response.Body, 1<<20))
}
