package accesscmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grouprole"
)

// world is the account and the cluster that steps are made in.
type world struct {
	w       *grouprole.Wanted
	iam     *awsapi.IAM
	cluster client.Client
	undo    bool
	// roleID is the role's, once there is one.
	roleID string
	// What was read, for changes that must not undo somebody else's.
	auth    *corev1.ConfigMap
	mapping *v1alpha1.IdentityMapping
	binding *rbacv1.ClusterRoleBinding
}

func newWorld(w *grouprole.Wanted, iam *awsapi.IAM, config *rest.Config, undo bool) (*world, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	cluster, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "reach the cluster: %w", err)
	}
	return &world{w: w, iam: iam, cluster: cluster, undo: undo}, nil
}

// read finds out what there is.
func (is *world) read(ctx context.Context) (*grouprole.State, error) {
	var s grouprole.State
	if err := is.readAWS(ctx, &s); err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	return &s, is.readCluster(ctx, &s)
}

func (is *world) readAWS(ctx context.Context, s *grouprole.State) (err error) {
	if s.GroupExists, err = is.iam.HasGroup(ctx, is.w.Group); err != nil {
		return err
	}
	role, err := is.iam.FindRole(ctx, is.w.Role)
	if err != nil {
		return err
	}
	if role != nil {
		if role.ARN != is.w.RoleARN() {
			return fault.New(fault.Conflict, "the account has a role of that name with a path: %s", role.ARN).
				Hint("name another role")
		}
		is.roleID = role.ID
		s.Role = &grouprole.Role{ID: role.ID, Trust: role.Trust, Tags: role.Tags, Attached: role.Attached}
	}
	for name, into := range map[string]**grouprole.Policy{
		is.w.AccessPolicyName(): &s.Access, is.w.AssumePolicyName(): &s.Assume,
	} {
		found, err := is.iam.FindPolicy(ctx, is.w.PolicyARN(name))
		if err != nil {
			return err
		}
		if found != nil {
			*into = &grouprole.Policy{
				Document: found.Document, Tags: found.Tags, Groups: found.Groups, Roles: found.Roles, Others: len(found.Users),
			}
		}
	}
	return nil
}

var authPlace = types.NamespacedName{Namespace: "kube-system", Name: "aws-auth"}

func (is *world) readCluster(ctx context.Context, s *grouprole.State) error {
	auth, mapping, binding := &corev1.ConfigMap{}, &v1alpha1.IdentityMapping{}, &rbacv1.ClusterRoleBinding{}
	is.auth, is.mapping, is.binding = nil, nil, nil
	there, err := is.get(ctx, authPlace, auth)
	if err != nil {
		return err
	}
	if there {
		is.auth = auth
		_, has := auth.Data[mapRoles]
		s.ConfigMap = &grouprole.ConfigMap{
			MapRoles: auth.Data[mapRoles], Annotations: auth.Annotations,
			Alone: len(auth.BinaryData) == 0 && (len(auth.Data) == 0 || has && len(auth.Data) == 1),
		}
	}
	there, err = is.get(ctx, types.NamespacedName{Name: is.w.MappingName()}, mapping)
	switch {
	case meta.IsNoMatchError(err) && is.w.Source == grouprole.IdentityMapping && !is.undo:
		return fault.New(fault.Usage, "the cluster does not know IdentityMappings").
			Hint("kubectl apply -f api/crds, or leave out --source identity-mapping")
	case err != nil && !meta.IsNoMatchError(err):
		return err
	case there:
		is.mapping = mapping
		s.Mapping = &grouprole.Mapping{
			Ours: ours(mapping), ARN: mapping.Spec.Principal.ARN, UserID: mapping.Spec.UserID,
			Username: mapping.Spec.Username, Groups: mapping.Spec.Groups,
		}
	}
	there, err = is.get(ctx, types.NamespacedName{Name: is.w.BindingName()}, binding)
	if err != nil {
		return err
	}
	if there {
		is.binding = binding
		s.Binding = &grouprole.Binding{Ours: ours(binding), ClusterRole: binding.RoleRef.Name}
		for _, subject := range binding.Subjects {
			if subject.Kind == rbacv1.GroupKind {
				s.Binding.Groups = append(s.Binding.Groups, subject.Name)
			} else {
				s.Binding.Others++
			}
		}
	}
	return is.hasClusterRole(ctx)
}

// hasClusterRole refuses to bind what is not there: it would do nothing.
func (is *world) hasClusterRole(ctx context.Context) error {
	if is.w.ClusterRole == "" || is.undo {
		return nil
	}
	there, err := is.get(ctx, types.NamespacedName{Name: is.w.ClusterRole}, &rbacv1.ClusterRole{})
	if err == nil && !there {
		err = fault.New(fault.NotFound, "the cluster has no ClusterRole %s", is.w.ClusterRole).
			Hint("kubectl get clusterroles")
	}
	return err
}

func (is *world) get(ctx context.Context, name types.NamespacedName, into client.Object) (there bool, err error) {
	err = is.cluster.Get(ctx, name, into)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case meta.IsNoMatchError(err):
		return false, err
	case err != nil:
		return false, fault.New(fault.Unavailable, "read %T %s: %w", into, strings.TrimPrefix(name.String(), "/"), err)
	}
	return true, nil
}

func ours(object client.Object) bool {
	return object.GetLabels()[grouprole.Label] == grouprole.LabelValue
}

func labels() map[string]string { return map[string]string{grouprole.Label: grouprole.LabelValue} }

const (
	mapRoles    = "mapRoles"
	description = "Made by rolecall access group-role"
)

// attempts are how often a step is made that somebody else's change comes between.
const attempts = 6

// make makes one step. If somebody was faster with an object of the cluster, what is there
// now is read, and what is to be done with it planned again.
func (is *world) make(ctx context.Context, s *grouprole.Step, state *grouprole.State, planned planner) error {
	err := is.do(ctx, s)
	for left := attempts - 1; left > 0 && wasFaster(err); left-- {
		now := *state
		now.ConfigMap, now.Mapping, now.Binding = nil, nil, nil
		if err := is.readCluster(ctx, &now); err != nil {
			return err
		}
		steps, errPlan := planned(ctx, &now)
		if errPlan != nil {
			return errPlan
		}
		i := slices.IndexFunc(steps, func(again grouprole.Step) bool { return again.Kind == s.Kind })
		if i < 0 {
			return nil
		}
		*s = steps[i]
		err = is.do(ctx, s)
	}
	return err
}

// planner says what is to be done in a state.
type planner func(context.Context, *grouprole.State) ([]grouprole.Step, error)

// wasFaster reports whether the API server refused a change as the object is no longer what
// it was when it was read.
func wasFaster(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

// do makes one step.
func (is *world) do(ctx context.Context, s *grouprole.Step) error {
	switch s.Kind {
	case grouprole.KindRole:
		return is.doRole(ctx, s)
	case grouprole.KindAccess, grouprole.KindAssume:
		return is.doPolicy(ctx, s)
	case grouprole.KindConfigMap:
		return is.doConfigMap(ctx, s)
	case grouprole.KindMapping:
		return is.doMapping(ctx, s)
	case grouprole.KindBinding:
		return is.doBinding(ctx, s)
	}
	return fmt.Errorf("nobody knows how to %s", s.String())
}

func (is *world) doRole(ctx context.Context, s *grouprole.Step) (err error) {
	switch s.Verb {
	case grouprole.Create:
		is.roleID, err = is.iam.MakeRole(ctx, s.Name, s.After, description, is.w.RoleTags())
		return err
	case grouprole.Update:
		return is.iam.SetTrust(ctx, s.Name, s.After)
	case grouprole.TagIt:
		key, value, _ := strings.Cut(s.After, "=")
		return is.iam.TagRole(ctx, s.Name, key, value)
	case grouprole.UntagIt:
		key, _, _ := strings.Cut(s.Before, "=")
		return is.iam.UntagRole(ctx, s.Name, key)
	default:
		return is.iam.DeleteRole(ctx, s.Name)
	}
}

func (is *world) doPolicy(ctx context.Context, s *grouprole.Step) error {
	policy := is.w.PolicyARN(s.Name)
	to, name, _ := strings.Cut(s.To, " ")
	switch s.Verb {
	case grouprole.Create:
		return is.iam.MakePolicy(ctx, s.Name, s.After, description, map[string]string{grouprole.Tag: grouprole.TagValue})
	case grouprole.Update:
		return is.iam.SetPolicy(ctx, policy, s.After)
	case grouprole.Attach:
		if to == "group" {
			return is.iam.AttachToGroup(ctx, name, policy)
		}
		return is.iam.AttachToRole(ctx, name, policy)
	case grouprole.Detach:
		if to == "group" {
			return is.iam.DetachFromGroup(ctx, name, policy)
		}
		return is.iam.DetachFromRole(ctx, name, policy)
	default:
		return is.iam.DeletePolicy(ctx, policy)
	}
}

// doConfigMap writes the entry and its mark together.
func (is *world) doConfigMap(ctx context.Context, s *grouprole.Step) error {
	key, value := is.w.EntryAnnotation()
	switch s.Verb {
	case grouprole.Create:
		is.auth = &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: authPlace.Namespace, Name: authPlace.Name,
				Annotations: map[string]string{key: value, grouprole.MadeAnnotation: grouprole.LabelValue},
			},
			Data: map[string]string{mapRoles: s.After},
		}
		return is.cluster.Create(ctx, is.auth)
	case grouprole.Delete:
		return is.cluster.Delete(ctx, is.auth, client.Preconditions{
			UID: &is.auth.UID, ResourceVersion: &is.auth.ResourceVersion,
		})
	default:
	}
	if is.auth.Annotations == nil {
		is.auth.Annotations = map[string]string{}
	}
	if delete(is.auth.Annotations, key); s.Mark {
		is.auth.Annotations[key] = value
	}
	if is.auth.Data == nil {
		is.auth.Data = map[string]string{}
	}
	is.auth.Data[mapRoles] = s.After
	return is.cluster.Update(ctx, is.auth)
}

func (is *world) mappingSpec() v1alpha1.IdentityMappingSpec {
	return v1alpha1.IdentityMappingSpec{
		Principal: v1alpha1.Principal{ARN: is.w.RoleARN()}, UserID: is.roleID, Username: is.w.Username,
		Groups: is.w.Groups,
	}
}

func (is *world) doMapping(ctx context.Context, s *grouprole.Step) error {
	spec := is.mappingSpec()
	switch s.Verb {
	case grouprole.Create:
		return is.cluster.Create(ctx, &v1alpha1.IdentityMapping{
			ObjectMeta: metav1.ObjectMeta{Name: s.Name, Labels: labels()}, Spec: spec,
		})
	case grouprole.Update:
		is.mapping.Spec = spec
		return is.cluster.Update(ctx, is.mapping)
	default:
		return is.cluster.Delete(ctx, is.mapping, client.Preconditions{UID: &is.mapping.UID})
	}
}

func (is *world) doBinding(ctx context.Context, s *grouprole.Step) error {
	wanted := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Labels: labels()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: is.w.ClusterRole},
	}
	for _, group := range is.w.Groups {
		wanted.Subjects = append(wanted.Subjects, rbacv1.Subject{
			APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group,
		})
	}
	if s.Verb == grouprole.Create {
		return is.cluster.Create(ctx, wanted)
	}
	if s.Verb == grouprole.Update && is.binding.RoleRef == wanted.RoleRef {
		is.binding.Subjects = wanted.Subjects
		return is.cluster.Update(ctx, is.binding)
	}
	// What a binding binds cannot be changed.
	if err := is.cluster.Delete(ctx, is.binding, client.Preconditions{UID: &is.binding.UID}); err != nil ||
		s.Verb == grouprole.Delete {
		return err
	}
	return is.cluster.Create(ctx, wanted)
}
