package follow

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/build"
)

// KeysAPIServer is the place of keys that stands for the API server.
const KeysAPIServer = "apiserver"

// KeySourceAt is where the keys of one issuer of the cluster's tokens come from: place is
// KeysAPIServer, an https URL or a file of a JWKS. client is not used for the latter two.
func KeySourceAt(client kubernetes.Interface, place, issuer string) KeySource {
	if place == KeysAPIServer {
		return apiServerKeys(client)
	}
	return keysAt(place, issuer)
}

// FurtherIssuers are the key sources of issuers written as ISSUER=KEYS, which
// have been validated.
func FurtherIssuers(client kubernetes.Interface, also []string) []Further {
	var all []Further
	for _, one := range also {
		issuer, place, _ := strings.Cut(one, "=")
		all = append(all, Further{Issuer: issuer, Keys: KeySourceAt(client, place, issuer)})
	}
	return all
}

// keysAt are the keys at an https URL or in a file, neither of which says whose
// they are.
func keysAt(place, issuer string) KeySource {
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
func apiServerKeys(client kubernetes.Interface) KeySource {
	return func(ctx context.Context) (string, []byte, error) {
		get := client.Discovery().RESTClient().Get
		text, err := get().AbsPath("/.well-known/openid-configuration").
			SetHeader("Accept", "application/json").
			DoRaw(ctx)
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

// downloadTimeout bounds one download, its body included.
const downloadTimeout = 10 * time.Second

// download reads a small document.
func download(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", build.UserAgent())
	// A connection of its own each time: downloads are minutes apart, and a server that hung
	// must not keep the next one waiting.
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	transport.DisableKeepAlives = true
	response, err := (&http.Client{Timeout: downloadTimeout, Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers with status %d", url, response.StatusCode)
	}
	return io.ReadAll(io.LimitReader(response.Body, 1<<20))
}
