package integration_test

import (
	"net/http"
	"strings"
	"sync"
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
