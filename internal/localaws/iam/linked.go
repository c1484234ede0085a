package iam

import (
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// linkedPath begins the paths of service-linked roles, which only IAM creates.
const linkedPath = "/aws-service-role/"

// linkedRoles are the roles of the services that clusters need, without their
// common prefix. Those of other services are not known here.
var linkedRoles = map[string]string{
	"eks.amazonaws.com":                  "AmazonEKS",
	"eks-nodegroup.amazonaws.com":        "AmazonEKSNodegroup",
	"eks-fargate.amazonaws.com":          "AmazonEKSForFargate",
	"eks-connector.amazonaws.com":        "AmazonEKSConnector",
	"autoscaling.amazonaws.com":          "AutoScaling",
	"elasticloadbalancing.amazonaws.com": "ElasticLoadBalancing",
	"spot.amazonaws.com":                 "EC2Spot",
	"spotfleet.amazonaws.com":            "EC2SpotFleet",
	"rds.amazonaws.com":                  "RDS",
	"ecs.amazonaws.com":                  "ECS",
}

func linkedOperations() map[string]service.Operation {
	role := roleKind().target
	return map[string]service.Operation{
		"CreateServiceLinkedRole":            {Target: newLinkedTarget, Do: createLinked},
		"DeleteServiceLinkedRole":            {Target: role, Do: deleteLinked},
		"GetServiceLinkedRoleDeletionStatus": {Target: deletionTarget, Do: deletionStatus},
	}
}

func linkedName(q *service.Call) string {
	name := "AWSServiceRoleFor" + linkedRoles[q.Get("AWSServiceName")]
	if suffix := q.Get("CustomSuffix"); suffix != "" {
		name += "_" + suffix
	}
	return name
}

func newLinkedTarget(q *service.Call) (service.Target, error) {
	role := &account.Role{Name: linkedName(q), Path: linkedPath + q.Get("AWSServiceName") + "/"}
	return service.Target{
		ARN:     q.Account.RoleARN(role),
		Context: map[string]string{"iam:AWSServiceName": q.Get("AWSServiceName")},
	}, nil
}

func deletionTarget(q *service.Call) (service.Target, error) {
	path, _, _ := cutLast(strings.TrimPrefix(q.Get("DeletionTaskId"), "task/"), "/")
	return service.Target{ARN: "arn:" + q.Account.Partition + ":iam::" + q.Account.ID + ":role/" + path}, nil
}

func cutLast(text, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(text, sep); i >= 0 {
		return text[:i], text[i+len(sep):], true
	}
	return text, "", false
}

func createLinked(q *service.Call) (any, error) {
	suffixLimit := nameLimit
	suffixLimit.Optional = true
	host, suffix := q.Text("AWSServiceName", longNameLimit), q.Text("CustomSuffix", suffixLimit)
	role := &account.Role{
		Path:        linkedPath + host + "/",
		ID:          account.NewRoleID(),
		Created:     q.Time.UTC(),
		MaxSession:  minSession,
		Description: q.Text("Description", descriptionLimit),
		Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + host +
			`"},"Action":"sts:AssumeRole"}]}`,
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	if linkedRoles[host] == "" {
		return nil, wire.Errorf(http.StatusBadRequest, "InvalidInput", "Service role for %s cannot be created.", host).
			Because(
				"local AWS knows only the service-linked roles of EKS, Auto Scaling, load balancing, Spot, RDS and ECS",
			)
	}
	if suffix != "" && host != "autoscaling.amazonaws.com" {
		return nil, invalidInput("Custom suffix is not allowed for %s", host)
	}
	role.Name = linkedName(q)
	if len(role.Name) > nameLimit.Max {
		return nil, invalidInput("The name %s is longer than %d characters.", role.Name, nameLimit.Max)
	}
	err := q.Account.Update(func(state account.State) error {
		if _, err := state.Role(role.Name); !errors.Is(err, account.ErrNotFound) {
			return errors.Join(
				err,
				invalidInput(
					"Service role name %s has been taken in this account, please try a different suffix.", role.Name,
				),
			)
		}
		return errors.Join(room(state.CountRoles(), "RolesPerAccount", maxRoles), state.PutRole(role))
	})
	if err != nil {
		return nil, wrap(err, "create the service-linked role of %q", host)
	}
	return roleResult{newRoleXML(q.Account, role, true)}, nil
}

func isLinked(role *account.Role) bool { return strings.HasPrefix(role.Path, linkedPath) }

// modifiable refuses changes that only AWS may make.
func modifiable(role *account.Role) error {
	if isLinked(role) {
		return wire.Errorf(
			http.StatusBadRequest, "UnmodifiableEntity",
			"Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", role.Name,
		)
	}
	return nil
}

type deletionResult struct {
	DeletionTaskID string `xml:"DeletionTaskId" json:"DeletionTaskId"`
}

// deleteLinked deletes at once: whether the service still uses the role is not
// known here.
func deleteLinked(q *service.Call) (any, error) {
	name := q.Text("RoleName", nameLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	var result deletionResult
	err := q.Account.Update(func(state account.State) error {
		role, err := findRole(state, name)
		if err != nil {
			return err
		}
		if !isLinked(role) {
			return invalidInput("The role %s is not a service-linked role.", role.Name)
		}
		result.DeletionTaskID = "task" + role.Path + role.Name + "/" + uuid.NewString()
		return errors.Join(addDeletion(state, result.DeletionTaskID), state.DeleteRole(role.Name))
	})
	if err != nil {
		return nil, wrap(err, "delete the service-linked role %q", name)
	}
	return result, nil
}

type deletionStatusResult struct{ Status string }

func deletionStatus(q *service.Call) (any, error) {
	task := q.Text("DeletionTaskId", wire.Constraint{Min: 1, Max: 1000})
	if err := q.Check(); err != nil {
		return nil, err
	}
	found := false
	err := q.Account.View(func(state account.State) error {
		found = hasDeletion(state, task)
		return nil
	})
	if err == nil && !found {
		err = noSuchEntity("Deletion task %s cannot be found.", task)
	}
	return deletionStatusResult{"SUCCEEDED"}, wrap(err, "read a deletion")
}
