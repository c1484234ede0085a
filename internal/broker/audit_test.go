package broker_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/internal/auditchain"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// TestAuditChain: records of many requests at once are one chain.
func TestAuditChain(t *testing.T) {
	t.Parallel()
	w := newWorld(
		t,
		settings{edit: func(c *broker.Config) { c.Audit.Chain = auditchain.NewChain([auditchain.StartBytes]byte{1}) }},
	)
	w.associate()
	var asking sync.WaitGroup
	for i := range 20 {
		asking.Go(func() {
			if i%2 == 0 {
				w.ask(w.token(nil))
			} else {
				w.askAs("", w.token(nil))
			}
		})
	}
	asking.Wait()
	w.records(20) // still JSON, a line each
	report := must(auditchain.Verify(strings.NewReader(w.audit.String())))
	if len(report.Findings) > 0 || len(report.Chains) != 1 || report.Chains[0].Last != 20 {
		t.Errorf("%+v\n%s", report, w.audit)
	}
	changed := strings.Replace(w.audit.String(), `"decision":"refused"`, `"decision":"issued"`, 1)
	if report := must(
		auditchain.Verify(strings.NewReader(changed)),
	); len(report.Findings) != 1 || report.Findings[0].Rule != auditchain.Changed {
		t.Errorf("a decision was changed: %+v", report)
	}
}

// fullDisk takes so many bytes in all, until there is room again.
type fullDisk struct {
	lockedbuffer.Buffer
	room int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room < 0 || len(p) <= d.room {
		return d.Buffer.Write(p)
	}
	written, _ := d.Buffer.Write(p[:d.room])
	d.room = 0
	return written, errors.New("no space left on device")
}

// TestAuditCutOff: a record that was written in part spoils no other, and is seen
// to be missing.
func TestAuditCutOff(t *testing.T) {
	t.Parallel()
	disk, failed := &fullDisk{room: 100}, 0
	w := newWorld(t, settings{edit: func(c *broker.Config) {
		c.Audit = door.NewAudit(disk, func(error) { failed++ })
		c.Audit.Chain = auditchain.NewChain([auditchain.StartBytes]byte{1})
	}})
	w.ask(w.token(nil)) // in part
	w.ask(w.token(nil)) // not at all
	disk.room = -1
	w.ask(w.token(nil))
	w.ask(w.token(nil))
	report := must(auditchain.Verify(strings.NewReader(disk.String())))
	if failed != 2 || report.Lines != 3 || len(report.Findings) != 2 ||
		report.Findings[0].Rule != auditchain.Unchained ||
		report.Findings[1].Rule != auditchain.Missing || report.Chains[0].Last != 4 {
		t.Errorf("%d failed, %+v\n%s", failed, report, disk)
	}
}
