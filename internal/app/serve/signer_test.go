package serve

import (
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestAbstractSocketIsAsked: a name that every process of root on the host's network
// may connect to is taken only from somebody who says that they know.
func TestAbstractSocketIsAsked(t *testing.T) {
	t.Parallel()
	if flag := newSigner(cli.System{}).Flags().Lookup("insecure-abstract-socket"); flag == nil || flag.DefValue != "false" {
		t.Errorf("--insecure-abstract-socket: got %+v, want it off by default", flag)
	}
	for _, row := range []struct {
		socket  string
		allowed bool
		want    fault.Kind
	}{
		{"@rolecall", false, fault.Usage},
		{"@", false, fault.Usage},
		{"@rolecall", true, 0},
		{"/run/rolecall/signer.sock", false, 0},
	} {
		c := serveSignerConfig{
			socket: row.socket, abstract: row.allowed, keyFiles: []string{"sa.key"},
			refreshHint: time.Second, publishFor: time.Hour,
		}
		err := c.validate()
		if fault.KindOf(err) != row.want || (err == nil) != (row.want == 0) {
			t.Errorf("--socket %s, allowed %v: got %v", row.socket, row.allowed, err)
		}
		if err != nil && !strings.Contains(err.Error(), "also in a container") {
			t.Errorf("%v does not say who may connect", err)
		}
	}
}
