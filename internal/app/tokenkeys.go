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
