// Package eksauth is local AWS's EKS Auth service: in exchange for a pod's
// token it returns a session of the role that the pod's service account is
// associated with.
//
// It keeps no associations, see package eks, and does not know whether a pod
// exists: there is no cluster to ask.
package eksauth

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/eks"
	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// New returns EKS Auth, which verifies tokens with the keys of clusters' issuers.
func New(keys *sts.Keys) *service.Service {
	routes := rest.NewRoutes("POST /clusters/{clusterName}/assume-role-for-pod-identity " + operation)
	room := &room{keys}
	return &service.Service{
		Name: "eks-auth", Protocol: wire.RESTJSON, Version: "2023-11-26", Route: routes.Find,
		// It decides itself, since it answers a refusal with another status than
		// other services do.
		Operations: map[string]service.Operation{operation: {Access: service.Signed, Do: room.assume}},
	}
}

const operation = "AssumeRoleForPodIdentity"

type room struct{ keys *sts.Keys }

const maxToken = 16 << 10

var (
	clusterName  = lazyregexp.New(`^[0-9A-Za-z][A-Za-z0-9\-_]*$`)
	tokenPattern = lazyregexp.New(`^[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+\.[A-Za-z0-9-_=]+$`)
)

func refuse(code, format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, code, format, args...)
}

// read checks the request by the service model. The token is not repeated.
func read(q *service.Call) (raw string, err error) {
	input, err := rest.Decode[struct {
		Token string `json:"token"`
	}](q)
	if err != nil {
		return "", err
	}
	var v rest.Violations
	v.Text("clusterName", q.Segments["clusterName"], 1, 100, clusterName)
	v.Present("token", input.Token != "")
	if text := v.Error(); text != "" {
		return "", refuse("InvalidParameterException", "%s", text)
	}
	if len(input.Token) > maxToken || !tokenPattern.MatchString(input.Token) {
		return "", refuse(
			"InvalidParameterException",
			"1 validation error detected: Value at 'token' failed to satisfy constraint: Member must satisfy "+
				"regular expression pattern: %s",
			tokenPattern,
		).
			Because(
				"the token has %d bytes; want three parts of base64url, at most %d bytes", len(input.Token), maxToken,
			)
	}
	return input.Token, nil
}

func (r *room) assume(q *service.Call) (any, error) {
	name := q.Segments["clusterName"]
	if err := authorise(q, name); err != nil {
		return nil, err
	}
	raw, err := read(q)
	if err != nil {
		return nil, err
	}
	cluster, err := findCluster(q, name)
	if err != nil {
		return nil, err
	}
	pod, err := r.verify(q, cluster, raw)
	if err != nil {
		return nil, err
	}
	association, err := findAssociation(q, cluster, pod)
	if err != nil {
		return nil, err
	}
	return newTaking(q, cluster, association, pod).take()
}

// authorise: the caller, a node, needs the action on the cluster.
func authorise(q *service.Call, name string) error {
	target := service.Target{ARN: eks.ClusterARN(q.Account, q.Region, name)}
	err := q.Account.View(func(state account.State) error {
		cluster, err := eks.GetCluster(state, q.Region, name)
		if errors.Is(err, account.ErrNotFound) {
			return nil
		}
		if err == nil {
			target.Tags = cluster.Tags
		}
		return err
	})
	if err != nil {
		return err
	}
	err = q.Allow("eks-auth:"+operation, target)
	if refused, ok := errors.AsType[*wire.Error](err); ok && refused.Code == "AccessDenied" {
		refused.Code, refused.Status = "AccessDeniedException", http.StatusBadRequest
	}
	return err
}

func findCluster(q *service.Call, name string) (cluster *eks.Cluster, err error) {
	err = q.Account.View(func(state account.State) error {
		cluster, err = eks.GetCluster(state, q.Region, name)
		return err
	})
	if errors.Is(err, account.ErrNotFound) {
		return nil, wire.Errorf(
			http.StatusNotFound, "ResourceNotFoundException", "No cluster found for name: %s.", name,
		).
			Because("account %s has no cluster %q in %s", q.Account.ID, name, q.Region)
	}
	return cluster, err
}

func findAssociation(q *service.Call, cluster *eks.Cluster, pod *pod) (one *eks.Association, err error) {
	count := 0
	err = q.Account.View(func(state account.State) error {
		in := eks.In(state, cluster.Region, cluster.Name)
		one, err = in.AssociationOf(pod.namespace, pod.serviceAccount)
		if errors.Is(err, account.ErrNotFound) {
			count = in.Count()
		}
		return err
	})
	if errors.Is(err, account.ErrNotFound) {
		return nil, wire.Errorf(http.StatusNotFound, "ResourceNotFoundException", "No association found").
			Because(
				"no association of cluster %s is for service account %s of namespace %s; associations in all: %d",
				cluster.Name, pod.serviceAccount, pod.namespace, count,
			)
	}
	if err != nil {
		return nil, fmt.Errorf("find the association: %w", err)
	}
	return one, nil
}

// principal is the service that assumes roles for pods.
const principal = eks.PodPrincipal
