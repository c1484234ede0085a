// Package issuer keeps Issuer objects true: it publishes the keys that the API
// servers have, keeps IAM's providers in step, checks what is published as STS
// does, and walks key rotations.
//
// It restarts no API server and copies no file to a node: it says in a Secret
// what they must have, sees when they do, and then goes on.
package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/bucket"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// Reconciler is the controller. All fields are needed.
type Reconciler struct {
	Client client.Client
	// Objects reads and writes Secrets and ConfigMaps without watching them all.
	Objects kubernetes.Interface
	// Config reaches the API servers.
	Config *rest.Config
	Reader *observe.Reader
	Events events.EventRecorder
	// Metrics are made by NewMetrics.
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time
	// Every is how often API servers and readers are looked at: neither tells
	// when it changes.
	Every time.Duration
}

// Setup adds the controller to a manager.
func (r *Reconciler) Setup(manager ctrl.Manager) error {
	// Its own status changes must not wake it.
	return ctrl.NewControllerManagedBy(manager).Named("issuer").
		For(&v1alpha1.Issuer{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).Complete(r)
}

// Reconcile does what one look at the cluster asks for, and takes at most one
// step of a rotation.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object v1alpha1.Issuer
	if err := r.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		r.Metrics.forget(request.Name)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := object.DeepCopy()
	moved, err := r.look(ctx, &object)
	if ctx.Err() != nil { // told to stop: what failed says nothing about the issuer
		return ctrl.Result{}, ctx.Err()
	}
	setCondition(&object, conditionReady, "InStep", err)
	object.Status.ObservedGeneration = object.Generation
	was := meta.FindStatusCondition(before.Status.Conditions, conditionReady)
	if err != nil && (was == nil || was.Status != metav1.ConditionFalse) {
		r.event(&object, corev1.EventTypeWarning, "NotInStep", err.Error())
	}
	r.Metrics.observe(&object, r.Now())
	if patchErr := r.Client.Status().Patch(ctx, &object, client.MergeFrom(before)); patchErr != nil {
		return ctrl.Result{}, fmt.Errorf("write the status: %w", client.IgnoreNotFound(patchErr))
	}
	if err != nil {
		// Not returned: what is wrong mostly lasts, as while an API server is
		// rolled, and waiting longer and longer would hold the next step up.
		r.Log.Warn("issuer is not in step", "issuer", object.Name, "error", err)
	}
	if moved { // the Secret of the new phase is written now that the phase is
		return ctrl.Result{RequeueAfter: time.Millisecond}, nil
	}
	return ctrl.Result{RequeueAfter: r.Every}, nil
}

// round is one look and its result.
type round struct {
	object  *v1alpha1.Issuer
	servers []*observe.APIServer
	view    observe.View
	state   rotation.State
	secret  plan.Files
}

// look changes the object's status; moved says that a rotation took a step.
func (r *Reconciler) look(ctx context.Context, object *v1alpha1.Issuer) (moved bool, err error) {
	look := &round{object: object, state: plan.StateOf(object, r.Now())}
	if look.servers, err = observe.FindAPIServers(ctx, r.Config, object.Spec.APIServers); err != nil {
		return false, err
	}
	look.view = observe.Look(ctx, r.Reader, object.Spec.URL, look.servers, plan.ProbeOf(&object.Spec), r.Now)
	if err := r.applySecret(ctx, look); err != nil {
		return false, err
	}
	if err := r.publish(ctx, look); err != nil {
		setCondition(object, conditionPublished, "", err)
		r.verify(look)
		return false, err
	}
	setCondition(object, conditionPublished, "Published", nil)
	providersErr := r.providers(ctx, object)
	setCondition(object, conditionProviders, "InStep", providersErr)
	r.verify(look)
	moved, err = r.rotate(ctx, look)
	return moved, errors.Join(err, providersErr)
}

// applySecret makes the Secret what the phase that was last written down says,
// so that a status that could not be written is never overtaken.
func (r *Reconciler) applySecret(ctx context.Context, look *round) error {
	spec := look.object.Spec.Rotation
	if spec == nil {
		return nil
	}
	secrets := r.Objects.CoreV1().Secrets(spec.Secret.Namespace)
	found, err := secrets.Get(ctx, spec.Secret.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read the keys: %w", err)
	}
	missing := err != nil
	if look.secret = found.Data; look.state.Phase == rotation.Stable &&
		!plan.HoldsLeaked(found.Data, look.state.Leaked) {
		return nil
	}
	served, err := observe.Union(look.view.Asked)
	if err != nil {
		return err
	}
	wanted, err := plan.Secret(look.state, found.Data, served)
	if err != nil {
		return fmt.Errorf("keys of Secret %s/%s: %w", spec.Secret.Namespace, spec.Secret.Name, err)
	}
	return r.writeSecret(ctx, look, missing, found, wanted)
}

func (r *Reconciler) writeSecret(
	ctx context.Context, look *round, missing bool, found *corev1.Secret, wanted plan.Files,
) error {
	spec := look.object.Spec.Rotation.Secret
	secrets := r.Objects.CoreV1().Secrets(spec.Namespace)
	same := maps.EqualFunc(found.Data, wanted, func(a, b []byte) bool { return string(a) == string(b) })
	var err error
	switch {
	case missing:
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: spec.Name},
			Data:       wanted,
		}, metav1.CreateOptions{})
	case !same:
		found.Data = wanted // the version that was read: a faster writer wins
		_, err = secrets.Update(ctx, found, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	look.secret = wanted
	return nil
}

// publish writes what the rotation wants, and reads it back.
func (r *Reconciler) publish(ctx context.Context, look *round) error {
	spec := &look.object.Spec
	known, _ := look.secret.Known() // what cannot be read is left to those who need it
	keys, err := look.view.Wanted(look.state, known)
	if err != nil {
		return err
	}
	documents, err := document.New(spec.URL, keys, plan.Options(spec))
	if err != nil {
		return err
	}
	cluster := func() (kubernetes.Interface, error) { return r.Objects, nil }
	place, err := store.Open(ctx, &spec.Publish, accounts.Bucket, cluster)
	if err != nil {
		return err
	}
	done, err := store.Publish(ctx, place, documents, observe.Signing(look.view.Asked))
	if err != nil {
		return err
	}
	status := &look.object.Status
	r.warnOfForeign(look, done.Removed)
	if len(done.Lost) > 0 {
		r.event(look.object, corev1.EventTypeWarning, "Dropped",
			"what was published by somebody else is replaced, without "+strings.Join(done.Lost, "; "))
	}
	status.Keys = plan.KeyStatuses(status.Keys, keys, look.view.Facts())
	if len(done.Written) > 0 {
		status.PublishedAt = &metav1.Time{Time: r.Now()}
		r.event(look.object, corev1.EventTypeNormal, "Published", "keys "+strings.Join(document.IDs(keys), ", "))
		if _, direct := bucket.Of(spec.URL); spec.Publish.S3 != nil && !direct {
			r.event(look.object, corev1.EventTypeNormal, "DropOldCopies",
				bucket.Invalidation(spec.URL, documents.JWKS.Name, documents.Discovery.Name))
		}
		look.view.Discovery, look.view.JWKS = r.Reader.Read(ctx, spec.URL)
	}
	status.PublishedHash = documents.Hash()
	return nil
}

// warnOfForeign tells of keys that somebody else has published: they are overwritten, but
// tokens may have been minted with them.
func (r *Reconciler) warnOfForeign(look *round, removed []string) {
	for _, kid := range removed {
		ours := func(key v1alpha1.KeyStatus) bool { return key.KID == kid }
		if !slices.ContainsFunc(look.object.Status.Keys, ours) && kid != look.state.OldKID && kid != look.state.NewKID {
			r.event(look.object, corev1.EventTypeWarning, "ForeignKey", "key "+kid+" was published, but no API server "+
				"serves it and no rotation names it; it is removed. Its writer could be any service account at "+
				"AWS: find out who it was, and end sessions that it may have opened")
		}
	}
}

func (r *Reconciler) providers(ctx context.Context, object *v1alpha1.Issuer) error {
	var arns []string
	for _, provider := range object.Spec.Providers {
		arn, err := accounts.EnsureProvider(ctx, object.Spec.URL, provider)
		if err != nil {
			return err
		}
		arns = append(arns, arn)
	}
	object.Status.Providers = arns
	return nil
}

// verify judges what anybody reads, as STS does.
func (r *Reconciler) verify(look *round) {
	seen := inspect.Observation{
		Issuer:    look.object.Spec.URL,
		Now:       r.Now(),
		Discovery: look.view.Discovery,
		JWKS:      look.view.JWKS,
		JWKSURI:   plan.JWKSURI(&look.object.Spec),
		Rotation:  look.state.Named(),
		Leaked:    look.state.Leaked,
	}
	for _, asked := range look.view.Asked {
		seen.Servers = append(seen.Servers, asked.ServerKeys)
	}
	var wrong []error
	for _, f := range inspect.Inspect(seen) {
		if f.Severity == finding.Error {
			wrong = append(wrong, errors.New(f.Rule+": "+f.Message))
		}
	}
	err := errors.Join(wrong...)
	setCondition(look.object, conditionVerified, "Sound", err)
	if err == nil {
		look.object.Status.VerifiedAt = &metav1.Time{Time: r.Now()}
	}
}

// rotate starts what is due, or takes the next step if it is safe.
func (r *Reconciler) rotate(ctx context.Context, look *round) (moved bool, err error) {
	facts := look.view.Facts()
	status := &look.object.Status
	if look.state.Phase == rotation.Stable {
		if !plan.Due(&look.object.Spec, status, look.state, r.Now()) {
			plan.SetState(status, look.state, rotation.Gate{}, 0)
			return false, nil
		}
		return r.start(ctx, look, facts)
	}
	if look.state.Phase.MayAbort() && slices.Contains(look.state.Leaked, look.state.NewKID) {
		return r.abort(look, facts)
	}
	longest, err := look.servers[0].LongestToken(ctx)
	if err != nil {
		return false, err
	}
	parameters := plan.Parameters(&look.object.Spec, longest)
	facts.Stored = look.secret.Stored(look.state)
	if facts.Exchanges = int(status.Rotation.Exchanges); look.state.Phase == rotation.Signing &&
		!parameters.WithoutCanary && !look.state.Emergency {
		facts.Exchanges, facts.ExchangeErr = r.exchange(ctx, look, facts.Exchanges)
	}
	state, gate := rotation.Look(look.state, parameters, facts)
	after, err := rotation.Advance(state, parameters, facts)
	if err != nil && !errors.Is(err, rotation.ErrUnsafe) {
		return false, err
	}
	for _, danger := range gate.Dangers {
		r.event(look.object, corev1.EventTypeWarning, "RotationUnsafe", danger)
	}
	if after.Phase == look.state.Phase {
		plan.SetState(status, after, gate, facts.Exchanges)
		return false, nil
	}
	_, gate = rotation.Look(after, parameters, facts)
	plan.SetState(status, after, gate, 0)
	r.event(look.object, corev1.EventTypeNormal, "Rotation", fmt.Sprintf("%s: %s", after.Phase, gate.Do))
	if after.Phase == rotation.Retiring && after.Emergency {
		r.event(look.object, corev1.EventTypeWarning, "DenyOlderSessions",
			"on each role that trusts "+look.object.Spec.URL+": "+plan.DenyOlderSessions("ROLE", r.Now()))
	}
	return true, nil
}

// abort gives up a rotation to a key that has leaked.
func (r *Reconciler) abort(look *round, facts rotation.Facts) (bool, error) {
	state, err := rotation.Abort(look.state, facts)
	if err != nil {
		return false, err
	}
	plan.SetState(&look.object.Status, state, rotation.Gate{}, 0)
	r.event(look.object, corev1.EventTypeWarning, "Rotation",
		fmt.Sprintf("%s: the new key %s has leaked, nothing uses it", state.Phase, look.state.NewKID))
	return true, nil
}

// start makes the new key; a start that could not be written down finds it.
func (r *Reconciler) start(ctx context.Context, look *round, facts rotation.Facts) (bool, error) {
	if reasons := rotation.Check(look.state, facts); len(reasons) > 0 {
		plan.SetState(&look.object.Status, look.state, rotation.Gate{}, 0)
		look.object.Status.Rotation.WaitingFor = short(strings.Join(reasons, "; "))
		return false, nil
	}
	next, err := look.secret.NextKey()
	if err != nil || slices.Contains(look.state.Leaked, next.ID) || !isKind(next, look.object.Spec.Rotation.KeyKind) {
		if next, err = r.makeKey(ctx, look); err != nil {
			return false, err
		}
	}
	emergency := slices.ContainsFunc(facts.Servers,
		func(s rotation.Server) bool { return slices.Contains(look.state.Leaked, s.Signs) })
	state, err := rotation.Start(look.state, facts, next.ID, emergency)
	if err != nil {
		return false, err
	}
	plan.SetState(&look.object.Status, state, rotation.Gate{}, 0)
	r.event(look.object, corev1.EventTypeNormal, "Rotation",
		fmt.Sprintf("%s: from %s to %s", state.Phase, state.OldKID, state.NewKID))
	return true, nil
}

func (r *Reconciler) makeKey(ctx context.Context, look *round) (token.PublicKey, error) {
	key, err := newKeyOf(look.object.Spec.Rotation.KeyKind)
	if err != nil {
		return token.PublicKey{}, err
	}
	text, err := key.PEM()
	if err != nil {
		return token.PublicKey{}, err
	}
	spec := look.object.Spec.Rotation.Secret
	found, err := r.Objects.CoreV1().Secrets(spec.Namespace).Get(ctx, spec.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return token.PublicKey{}, fmt.Errorf("read the keys: %w", err)
	}
	wanted := plan.Files{plan.Next: text}
	for name, old := range found.Data {
		if name != plan.Next {
			wanted[name] = old
		}
	}
	if err := r.writeSecret(ctx, look, err != nil, found, wanted); err != nil {
		return token.PublicKey{}, err
	}
	return token.NewPublicKey(key.Public())
}

// exchange offers a token of each API server to STS, once a look, and returns how
// many rounds have succeeded one after the other.
func (r *Reconciler) exchange(ctx context.Context, look *round, before int) (int, error) {
	accepted, err := look.view.Exchange(look.state.NewKID, func(signed credential.Secret) error {
		return accounts.Exchange(ctx, look.object.Spec.Probe.RoleARN, signed)
	})
	switch {
	case err != nil:
		r.event(look.object, corev1.EventTypeWarning, "CanaryRefused", err.Error())
		return 0, err
	case !accepted:
		return 0, nil
	}
	return min(before+1, rotation.Canaries), nil
}

func (r *Reconciler) event(object *v1alpha1.Issuer, kind, reason, message string) {
	r.Events.Eventf(object, nil, kind, reason, reason, "%s", short(message))
	r.Log.Info("issuer event", "issuer", object.Name, "kind", kind, "reason", reason, "message", message)
}

// newKeyOf makes a key of the kind that an object asks for.
func newKeyOf(kind v1alpha1.KeyKind) (*token.Key, error) {
	of, err := token.KindOfObject(string(kind))
	if err != nil {
		return nil, err
	}
	return token.Generate(of)
}

// isKind tells whether a waiting next key is of the kind, which may have been
// changed since.
func isKind(key token.PublicKey, kind v1alpha1.KeyKind) bool {
	of, err := token.KindOfObject(string(kind))
	return err == nil && key.Algorithm() == of.Algorithm()
}
