package serve

import (
	"crypto/tls"
	"testing"

	"github.com/rolecall/rolecall/internal/app/cli"
)

// TestStateFileIsOff: live sessions are written to no file unless somebody names one.
func TestStateFileIsOff(t *testing.T) {
	t.Parallel()
	if flag := newAgent(cli.System{}).Flags().Lookup("state-file"); flag == nil || flag.DefValue != "" {
		t.Errorf("--state-file: got %+v, want it off by default", flag)
	}
}

// TestLeastTLS: without a flag that says less the webhook speaks TLS 1.2 and later.
func TestLeastTLS(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]uint16{"": tls.VersionTLS12, "1.2": tls.VersionTLS12, "VersionTLS13": tls.VersionTLS13} {
		config, c := &tls.Config{}, webhookConfig{minTLS: flag} //nolint:gosec // what is tested is its least version
		if err := c.restrict(config); err != nil || config.MinVersion != want {
			t.Errorf("--tls-min-version %q: got %x, %v, want %x", flag, config.MinVersion, err, want)
		}
	}
}
