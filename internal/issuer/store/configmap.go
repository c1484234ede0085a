package store

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/rolecall/rolecall/internal/issuer/document"
)

// ConfigMap keeps the documents in one object of the cluster; `rolecall serve
// issuer` serves it from a volume.
type ConfigMap struct {
	Client corev1client.ConfigMapInterface
	Name   string
}

// Read returns one key of the object; the version is the key's content, so that
// writing one document does not make the other look changed.
func (c ConfigMap) Read(ctx context.Context, name string) (document.Object, error) {
	found, err := c.Client.Get(ctx, c.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return document.Object{Name: name}, nil
	}
	if err != nil {
		return document.Object{}, fmt.Errorf("read ConfigMap %s: %w", c.Name, err)
	}
	text, there := found.Data[ConfigMapKey(name)]
	if !there {
		return document.Object{Name: name}, nil
	}
	return document.Object{Name: name, Text: []byte(text), Version: version([]byte(text))}, nil
}

// Write sets one key if it still has the version that was read; the API server
// refuses it if the object changed in between.
func (c ConfigMap) Write(ctx context.Context, write document.Write) error {
	key := ConfigMapKey(write.Object.Name)
	found, err := c.Client.Get(ctx, c.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		if write.Replaces != "" {
			return document.ErrChanged
		}
		made := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: c.Name},
			Data:       map[string]string{key: string(write.Object.Text)},
		}
		_, err = c.Client.Create(ctx, made, metav1.CreateOptions{})
	case err == nil:
		text, there := found.Data[key]
		if there != (write.Replaces != "") || (there && version([]byte(text)) != write.Replaces) {
			return document.ErrChanged
		}
		if found.Data == nil {
			found.Data = map[string]string{}
		}
		found.Data[key] = string(write.Object.Text)
		_, err = c.Client.Update(ctx, found, metav1.UpdateOptions{})
	}
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return document.ErrChanged
	case err != nil:
		return fmt.Errorf("write ConfigMap %s: %w", c.Name, err)
	}
	return nil
}
