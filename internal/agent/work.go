package agent

import "sync"

// work counts what runs, so that the agent ends after it. The zero value is
// ready.
type work struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// begin reports whether more may run; then end must be called. To add to a group
// that is already waited for would be a race, so nothing more begins once the
// agent waits.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.running.Add(1)
	return true
}

func (w *work) end() { w.running.Done() }

// close lets nothing more begin, and waits for what runs.
func (w *work) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.running.Wait()
}
