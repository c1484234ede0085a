package integration_test

import (
	"net/http"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/issuer/server"
)

// swapped routes by prefix, and takes new routes while it serves.
type swapped struct {
	mu     sync.RWMutex
	routes map[string]http.Handler
}

func (s *swapped) handle(prefix string, handler http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.routes == nil {
		s.routes = map[string]http.Handler{}
	}
	s.routes[prefix] = handler
}

func (s *swapped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for prefix, handler := range s.routes {
		if strings.HasPrefix(r.URL.Path, prefix) {
			handler.ServeHTTP(w, r)
			return
		}
	}
	http.NotFound(w, r)
}

// lazyFiles serves a folder that is not there yet.
func lazyFiles(dir string) http.Handler {
	var once sync.Mutex
	var files *server.Files
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Lock()
		defer once.Unlock()
		if files == nil {
			made, err := server.OpenFiles(dir, 0, discard)
			if err != nil {
				http.NotFound(w, r)
				return
			}
			files = made
		}
		files.ServeHTTP(w, r)
	})
}
