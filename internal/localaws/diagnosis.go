package localaws

import (
	"sync"
	"time"
)

// Diagnosis is the whole truth about one refusal.
type Diagnosis struct {
	RequestID string    `json:"requestId"`
	Action    string    `json:"action"`
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	Reason    string    `json:"reason,omitempty"`
	Time      time.Time `json:"time"`
}

// keptDiagnoses is how many of the last refusals can be asked about.
const keptDiagnoses = 1000

// diagnoses keeps the last refusals. The zero value is empty.
type diagnoses struct {
	mu   sync.Mutex
	byID map[string]Diagnosis
	ring [keptDiagnoses]string
	next int
}

func (d *diagnoses) add(one Diagnosis) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byID == nil {
		d.byID = make(map[string]Diagnosis, keptDiagnoses)
	}
	delete(d.byID, d.ring[d.next])
	d.ring[d.next] = one.RequestID
	d.next = (d.next + 1) % keptDiagnoses
	d.byID[one.RequestID] = one
}

func (d *diagnoses) get(id string) (Diagnosis, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one, found := d.byID[id]
	return one, found
}
