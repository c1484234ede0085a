package plane

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

// Workload is one container of an admitted pod as a program on this machine can
// be it: the environment the webhook injected, with the token files below a
// folder of ours instead of the container's root.
type Workload struct {
	Admission *Admission
	// Env are the container's variables, NAME=VALUE, in the pod's order.
	Env []string
	// Tokens are the projected tokens, one a mounted volume source.
	Tokens []ProjectedToken

	client *Client
	dir    string
	pod    *corev1.Pod // as created; nil before
	// holder holds the association of the account held; empty if it has one anyway.
	holder string
	held   association.Name
}

// ProjectedToken is one token file.
type ProjectedToken struct {
	Request TokenRequest
	Path    string // on this machine
	Expires time.Time
}

// MinimalPod returns the smallest pod (JSON) of a service account.
func MinimalPod(serviceAccount string) ([]byte, error) {
	return json.Marshal(corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "rolecall-run-" + uuid.NewString()[:8]},
		Spec: corev1.PodSpec{
			ServiceAccountName: serviceAccount,
			Containers:         []corev1.Container{{Name: "main", Image: "local"}},
		},
	})
}

// Prepare has a pod (JSON) admitted and created, and makes its first container's
// environment below dir, which must exist and be the caller's own. A service
// account the plane does not know is NotFound. Call Close when the pod's work is
// done. ViaPodIdentity gives an account that has no association one with the role
// of its annotation, for as long as pods that were prepared so are there.
func (c *Client) Prepare(ctx context.Context, namespace string, pod []byte, dir string, via Via) (*Workload, error) {
	w := &Workload{client: c, dir: dir}
	if err := w.prepare(ctx, namespace, pod, via); err != nil {
		return nil, errors.Join(err, w.Close(context.WithoutCancel(ctx)))
	}
	return w, nil
}

func (w *Workload) prepare(ctx context.Context, namespace string, pod []byte, via Via) (err error) {
	if via == ViaPodIdentity {
		if err := w.hold(ctx, namespace, pod); err != nil {
			return err
		}
	}
	if w.Admission, err = w.client.Admit(ctx, namespace, pod, via); err != nil {
		return err
	}
	// What is made must be known here to be taken away: not given up half-way.
	if w.pod, err = w.client.CreatePod(context.WithoutCancel(ctx), namespace, w.Admission.Pod); err != nil {
		return err
	}
	return w.begin(ctx)
}

// hold has the account have an association, with the role that it has by web
// identity if there is none.
func (w *Workload) hold(ctx context.Context, namespace string, pod []byte) error {
	admission, err := w.client.Admit(ctx, namespace, pod, ViaIRSA)
	if err != nil {
		return err
	}
	var admitted corev1.Pod
	if err := json.Unmarshal(admission.Pod, &admitted); err != nil {
		return fault.New(fault.Invalid, "decode the pod: %w", err)
	}
	account := cmp.Or(admitted.Spec.ServiceAccountName, "default")
	// An account that is not there has no role either; that is said first.
	if _, _, err := w.client.Token(ctx, TokenRequest{Namespace: namespace, ServiceAccount: account}); err != nil {
		return err
	}
	holder, err := w.client.hold(context.WithoutCancel(ctx), namespace, account, role(&admitted))
	if fault.KindOf(err) == fault.NotFound {
		return fault.New(fault.NotFound, "%w", err).
			Hint(
				"rolecall association create --via eks --cluster-name %s, or declare a PodIdentityAssociation in a "+
					"file: rolecall up -f FILE", quickstart.Cluster)
	}
	w.held = association.Name{Namespace: namespace, ServiceAccount: account}
	w.holder = holder
	return err
}

// role is what the first container has by web identity.
func role(pod *corev1.Pod) string {
	if len(pod.Spec.Containers) > 0 {
		for _, variable := range pod.Spec.Containers[0].Env {
			if variable.Name == "AWS_ROLE_ARN" {
				return variable.Value
			}
		}
	}
	return ""
}

// begin makes the environment and the token files.
func (w *Workload) begin(ctx context.Context) error {
	if len(w.pod.Spec.Containers) == 0 {
		return fault.New(fault.Invalid, "pod %q has no containers", w.pod.Name)
	}
	w.plan()
	if len(w.Tokens) == 0 {
		// Nothing was injected; ask anyway, to tell an account without a role
		// from one that does not exist.
		_, _, err := w.client.Token(ctx,
			TokenRequest{Namespace: w.pod.Namespace, ServiceAccount: w.pod.Spec.ServiceAccountName})
		return err
	}
	for i := range w.Tokens {
		if err := w.renew(ctx, &w.Tokens[i]); err != nil {
			return err
		}
	}
	return nil
}

// Close deletes the pod, and lets the association go that was made for it. Its
// tokens are good for nothing then but what AWS accepts of them.
func (w *Workload) Close(ctx context.Context) (err error) {
	if w.pod != nil {
		err = w.client.DeletePod(ctx, w.pod.Namespace, w.pod.Name)
	}
	if w.holder != "" {
		err = errors.Join(err, w.client.release(ctx, w.held.Namespace, w.held.ServiceAccount, w.holder))
	}
	return err
}

// Associated reports whether the account has its association for such pods only.
func (w *Workload) Associated() bool { return w.holder != "" }

// plan finds the token volumes the first container mounts, and moves the paths
// of its variables.
func (w *Workload) plan() {
	pod := w.pod
	container := &pod.Spec.Containers[0]
	for _, variable := range container.Env {
		value := variable.Value
		for _, mount := range container.VolumeMounts {
			if value == mount.MountPath || strings.HasPrefix(value, strings.TrimSuffix(mount.MountPath, "/")+"/") {
				value = filepath.Join(w.dir, value)
				break
			}
		}
		w.Env = append(w.Env, variable.Name+"="+value)
	}
	for _, mount := range container.VolumeMounts {
		i := slices.IndexFunc(pod.Spec.Volumes,
			func(v corev1.Volume) bool { return v.Name == mount.Name && v.Projected != nil })
		if i < 0 {
			continue
		}
		for _, source := range pod.Spec.Volumes[i].Projected.Sources {
			if source.ServiceAccountToken == nil {
				continue
			}
			request := TokenRequest{
				Namespace: pod.Namespace, ServiceAccount: pod.Spec.ServiceAccountName,
				Audience: source.ServiceAccountToken.Audience, PodName: pod.Name, PodUID: string(pod.UID),
			}
			if seconds := source.ServiceAccountToken.ExpirationSeconds; seconds != nil {
				request.Seconds = *seconds
			}
			w.Tokens = append(w.Tokens, ProjectedToken{
				Request: request,
				Path:    filepath.Join(w.dir, mount.MountPath, source.ServiceAccountToken.Path),
			})
		}
	}
}

func (w *Workload) renew(ctx context.Context, projected *ProjectedToken) error {
	secret, expires, err := w.client.Token(ctx, projected.Request)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(projected.Path), 0o700); err != nil {
		return fmt.Errorf("make the token's folder: %w", err)
	}
	if err := writeFile(projected.Path, []byte(secret.Reveal())); err != nil {
		return fmt.Errorf("write the token file: %w", err)
	}
	projected.Expires = expires
	return nil
}

// retryAfter is the pause after a renewal that failed; the old token stays in
// place, as with a kubelet.
const retryAfter = 10 * time.Second

// KeepFresh renews each token when a fifth of its lifetime is left, as a
// kubelet does, until ctx is done.
func (w *Workload) KeepFresh(ctx context.Context, now func() time.Time, log *slog.Logger) {
	for {
		next := w.nextRenewal()
		if next == nil {
			return
		}
		timer := time.NewTimer(renewalTime(next).Sub(now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := w.renew(ctx, next); err != nil {
			log.Warn("token not renewed, the old one stays", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryAfter):
			}
		}
	}
}

func (w *Workload) nextRenewal() *ProjectedToken {
	var next *ProjectedToken
	for i := range w.Tokens {
		if next == nil || renewalTime(&w.Tokens[i]).Before(renewalTime(next)) {
			next = &w.Tokens[i]
		}
	}
	return next
}

func renewalTime(projected *ProjectedToken) time.Time {
	return projected.Expires.Add(-time.Duration(projected.Request.Seconds) * time.Second / 5)
}
