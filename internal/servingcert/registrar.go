package servingcert

import (
	"bytes"
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Registrar keeps the caBundle of a MutatingWebhookConfiguration, and creates the
// configuration if there is none. Everything else of one that is there is left
// to its owner.
type Registrar struct {
	Client kubernetes.Interface
	// Wanted is what is created. Its name finds the one that is there.
	Wanted *admissionregistrationv1.MutatingWebhookConfiguration
}

// Current reads the configuration; nil if there is none.
func (r *Registrar) Current(ctx context.Context) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	current, err := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, r.Wanted.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read webhook configuration %s: %w", r.Wanted.Name, err)
	}
	return current, nil
}

// Put gives all webhooks of the configuration the bundle. current is what
// Current returned before the bundle was read: if anybody wrote since, Put fails
// with a conflict rather than write an older bundle over a newer one.
func (r *Registrar) Put(ctx context.Context, current *admissionregistrationv1.MutatingWebhookConfiguration, bundle []byte) (written bool, err error) {
	configurations := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if current == nil {
		created := r.Wanted.DeepCopy()
		setBundle(created, bundle)
		if _, err := configurations.Create(ctx, created, metav1.CreateOptions{}); err != nil {
			return false, fmt.Errorf("create webhook configuration %s: %w", r.Wanted.Name, err)
		}
		return true, nil
	}
	updated := current.DeepCopy()
	if !setBundle(updated, bundle) {
		return false, nil
	}
	if _, err := configurations.Update(ctx, updated, metav1.UpdateOptions{}); err != nil {
		return false, fmt.Errorf("update webhook configuration %s: %w", r.Wanted.Name, err)
	}
	return true, nil
}

func setBundle(configuration *admissionregistrationv1.MutatingWebhookConfiguration, bundle []byte) (changed bool) {
	for i := range configuration.Webhooks {
		client := &configuration.Webhooks[i].ClientConfig
		if !bytes.Equal(client.CABundle, bundle) {
			client.CABundle, changed = bundle, true
		}
	}
	return changed
}
