package servingcert

import (
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

// FileBundle writes into the configurations a bundle that somebody else keeps
// in a file, such as the ca.crt of a Secret of cert-manager.
type FileBundle struct {
	File      string
	Registrar *Registrar
	Every     time.Duration
	Log       *slog.Logger
}

// Run keeps until ctx is done.
func (f *FileBundle) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	for _, one := range f.Registrar.kept() {
		watching.Go(func() { one.watch(ctx, f.Registrar.Client, changed) })
	}
	for {
		if err := f.Step(ctx); err != nil && ctx.Err() == nil {
			f.Log.Error("authorities not written to the webhook configurations", "file", f.File, "error", err,
				"hints", fault.HintsOf(err))
		}
		timer := time.NewTimer(f.Every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Step looks once. A file without certificates is never told to anybody.
func (f *FileBundle) Step(ctx context.Context) error {
	current, err := f.Registrar.Current(ctx)
	if err != nil {
		return err
	}
	bundle, err := os.ReadFile(f.File)
	if err != nil {
		return fault.New(fault.Unavailable, "read the authorities: %w", err).
			Hint("--ca-file is the ca.crt next to the serving certificate")
	}
	if !x509.NewCertPool().AppendCertsFromPEM(bundle) {
		return fault.New(fault.Invalid, "%s holds no certificate", f.File).Hint("want one or more PEM certificates")
	}
	_, err = current.Put(ctx, bundle)
	return err
}
