// Package servingcert keeps a server's certificate and what its clients are told
// to trust, together with other replicas: an authority of its own in a Secret,
// rotated without a request failing, or a bundle from a file. API servers are
// told in webhook configurations, pods in a ConfigMap.
//
// It does not serve, and does not decide when a step is due; package pki does.
package servingcert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/pki"
)

// Members of the Secret, and its annotation. The first two are what every other
// tool expects of a TLS Secret.
const (
	certificateMember  = corev1.TLSCertKey
	keyMember          = corev1.TLSPrivateKeyKey
	authoritiesMember  = "ca.crt"
	authorityKeyMember = "ca.key"
	publishedAt        = "rolecall.io/ca-published-at"
)

// Keeper shares a pki.Ring with other replicas through a Secret. A replica that
// finds a step due takes it; the Secret's version lets one of them win.
type Keeper struct {
	Client            kubernetes.Interface
	Namespace, Secret string
	// Authority is what new authorities are called: whose certificates they sign.
	Authority string
	// Names are what API servers call the webhook by.
	Names     []string
	Lifetimes pki.Lifetimes
	// Registrar is told the bundle; nil if that is somebody else's task.
	Registrar *Registrar
	// Rotations observes the age of serving certificates that are replaced, in
	// seconds; nil for nobody.
	Rotations prometheus.Observer
	// Looks is told of each look that succeeds; nil for nobody.
	Looks *follow.Watch
	Log   *slog.Logger
	Now   func() time.Time

	current atomic.Pointer[tls.Certificate]
}

// TLSConfig serves the newest certificate, TLS 1.2 and later.
func (k *Keeper) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if certificate := k.current.Load(); certificate != nil {
				return certificate, nil
			}
			return nil, errors.New("no serving certificate yet")
		},
	}
}

// Ready reports whether there is something to serve.
func (k *Keeper) Ready() bool { return k.current.Load() != nil }

const (
	slowest = 30 * time.Second // between two looks
	retry   = 250 * time.Millisecond
)

// Run keeps until ctx is done. Changes by others are seen at once by watching;
// the clock's at the next look.
func (k *Keeper) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		watchOne(ctx, k.Client, k.Client.CoreV1().Secrets(k.Namespace), k.Secret, &corev1.Secret{}, changed)
	})
	if k.Registrar != nil {
		for _, one := range k.Registrar.kept() {
			watching.Go(func() { one.watch(ctx, k.Client, changed) })
		}
	}
	for {
		wait := min(k.Lifetimes.Settle/4, slowest)
		err := k.Step(ctx)
		if err == nil && k.Looks != nil {
			k.Looks.Hear()
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			wait = retry // another replica was faster
		case err != nil:
			k.Log.Error("serving certificate not updated", "secret", k.Namespace+"/"+k.Secret, "error", err,
				"hints", fault.HintsOf(err))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Step looks once, and takes at most one step. The configurations are read before
// the Secret, so that a bundle of an older Secret cannot be written over one of
// a newer (see Registrations). A bundle counts as published when all of them have
// it.
func (k *Keeper) Step(ctx context.Context) error {
	kept := &Registrations{}
	if k.Registrar != nil {
		var err error
		if kept, err = k.Registrar.Current(ctx); err != nil {
			// No step is safe, but the certificate that clients trust already is as good as before.
			if _, ring, failed := k.read(ctx); failed == nil && ring.Serving.Leaf != nil {
				k.serve(&ring.Serving)
			}
			return err
		}
	}
	secret, ring, err := k.read(ctx)
	if err != nil {
		return err
	}
	next, err := ring.Plan(k.Now(), k.Lifetimes, k.Authority, k.Names...)
	if err != nil {
		return err
	}
	if next != ring {
		if secret, err = k.write(ctx, secret, next); err != nil {
			return err
		}
		k.Log.Info("serving certificate or its authorities renewed", "secret", k.Namespace+"/"+k.Secret,
			"authorities", len(next.Authorities), "notAfter", next.Serving.Leaf.NotAfter)
	}
	k.serve(&next.Serving)
	told, err := kept.Put(ctx, next.Bundle())
	for _, name := range told {
		k.Log.Info("authorities published", "in", name, "authorities", len(next.Authorities))
	}
	if err != nil {
		return err
	}
	if published := next.Published(k.Now()); published != next {
		_, err = k.write(ctx, secret, published)
	}
	return err
}

// serve makes a certificate the one that is presented.
func (k *Keeper) serve(certificate *tls.Certificate) {
	last := k.current.Load()
	if last != nil && last.Leaf.Equal(certificate.Leaf) {
		return
	}
	k.current.Store(certificate)
	if last != nil && k.Rotations != nil {
		k.Rotations.Observe(k.Now().Sub(last.Leaf.NotBefore).Seconds())
	}
}

// read returns the Secret, nil if there is none, and what it holds.
func (k *Keeper) read(ctx context.Context) (*corev1.Secret, *pki.Ring, error) {
	secret, err := k.Client.CoreV1().Secrets(k.Namespace).Get(ctx, k.Secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, &pki.Ring{}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read secret %s/%s: %w", k.Namespace, k.Secret, err)
	}
	ring, err := pki.Encoded{
		Authorities:   secret.Data[authoritiesMember],
		AuthorityKeys: secret.Data[authorityKeyMember],
		Certificate:   secret.Data[certificateMember],
		Key:           secret.Data[keyMember],
		PublishedAt:   secret.Annotations[publishedAt],
	}.Decode()
	if err != nil {
		return nil, nil, fault.New(
			fault.Conflict, "secret %s/%s holds no certificate of ours: %w", k.Namespace, k.Secret, err,
		).Hint("if another tool fills it, mount it and add --in-cluster=false; " +
			"else delete it or choose another with --tls-secret")
	}
	return secret, ring, nil
}

func (k *Keeper) write(ctx context.Context, secret *corev1.Secret, ring *pki.Ring) (*corev1.Secret, error) {
	text, err := ring.Encode()
	if err != nil {
		return nil, err
	}
	secrets := k.Client.CoreV1().Secrets(k.Namespace)
	exists := secret != nil
	if exists {
		secret = secret.DeepCopy()
	} else {
		secret = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Secret},
			Type:       corev1.SecretTypeTLS,
		}
	}
	secret.Data = map[string][]byte{
		authoritiesMember:  text.Authorities,
		authorityKeyMember: text.AuthorityKeys,
		certificateMember:  text.Certificate,
		keyMember:          text.Key,
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[publishedAt] = text.PublishedAt
	if exists {
		secret, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	} else {
		secret, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("write secret %s/%s: %w", k.Namespace, k.Secret, err)
	}
	return secret, nil
}
