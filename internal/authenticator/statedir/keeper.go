package statedir

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// servingFor is how long a certificate that is served lives; it is replaced when a third
// of that is left.
const servingFor = 90 * 24 * time.Hour

// Keeper serves certificates of a directory's authority. They are renewed in memory, and
// the pair is read again when its files change.
type Keeper struct {
	Dir   string
	Names []string
	Log   *slog.Logger
	Now   func() time.Time

	mu      sync.Mutex
	serving *tls.Certificate
	until   time.Time
	stamp   [2]time.Time
}

// Open reads the pair. If there is none it makes one, but not if the API servers'
// kubeconfig trusts another: rotate allows that.
func (k *Keeper) Open(kubeconfig string, rotate bool) (*Authority, error) {
	found, err := Read(k.Dir)
	if err != nil {
		return nil, err
	}
	trusted, err := Trusted(kubeconfig)
	if err != nil {
		return nil, err
	}
	if found == nil {
		if found, err = Make(k.Now(), k.Names); err != nil {
			return nil, err
		}
		if len(trusted) > 0 && !rotate {
			return nil, Untrusted(found.Fingerprint(), kubeconfig, trusted)
		}
		if err := found.Write(k.Dir); err != nil {
			return nil, err
		}
		k.Log.Info("key pair made", "directory", k.Dir, "fingerprint", found.Fingerprint())
	}
	if len(trusted) > 0 && !slices.Contains(trusted, found.Fingerprint()) && found.cross == nil {
		k.Log.Warn("the API servers' kubeconfig trusted another certificate than the one that is served",
			"kubeconfig", kubeconfig, "trusted", trusted, "served", found.Fingerprint(),
			"hints", []string{"restart the API servers that have read the kubeconfig before now"})
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return found, k.renew(found)
}

// TLSConfig serves the newest certificate, TLS 1.2 and later.
func (k *Keeper) TLSConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: k.certificate}
}

func (k *Keeper) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.serving == nil {
		return nil, errors.New("no serving certificate yet")
	}
	if now := k.Now(); now.After(k.until) || k.stampNow() != k.stamp {
		found, err := Read(k.Dir)
		if err == nil && found == nil {
			err = errors.New("the pair is gone")
		}
		if err == nil {
			err = k.renew(found)
		}
		if err != nil {
			k.Log.Error("serving certificate not renewed, the old one stays", "directory", k.Dir, "error", err)
			k.until, k.stamp = now.Add(time.Minute), k.stampNow()
		}
	}
	return k.serving, nil
}

// renew is called with the lock held.
func (k *Keeper) renew(from *Authority) error {
	now := k.Now()
	made, err := from.Serving(now, servingFor, k.Names)
	if err != nil {
		return err
	}
	if k.serving != nil {
		k.Log.Info("serving certificate renewed", "notAfter", made.Leaf.NotAfter, "authority", from.Fingerprint())
	}
	k.serving, k.stamp = made, k.stampNow()
	k.until = now.Add(made.Leaf.NotAfter.Sub(now) * 2 / 3) //nolint:mnd // a third is left
	if from.NotAfter().Sub(now) < servingFor {
		k.Log.Warn("the authority of the serving certificate ends soon", "directory", k.Dir, "notAfter", from.NotAfter(),
			"hints", []string{"rolecall authenticator init --rotate, and restart the API servers one after the other"})
	}
	return nil
}

// stampNow is the state of the files; zero for one that cannot be looked at.
func (k *Keeper) stampNow() (stamp [2]time.Time) {
	for i, name := range []string{CertFile, KeyFile} {
		if info, err := os.Stat(filepath.Join(k.Dir, name)); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	return stamp
}
