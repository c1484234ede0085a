package follow

import "k8s.io/client-go/tools/cache"

// Store is what the reflector fills.
func (o *Objects[T, S]) Store() cache.ReflectorStore { return (*objectStore[T, S])(o) }
