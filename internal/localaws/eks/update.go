package eks

import (
	"encoding/json"
	"slices"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func updateOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"UpdateClusterConfig": {Target: configTarget, Do: updateConfig},
		"DescribeUpdate":      {Target: clusterTarget, Do: describeUpdate},
		"ListUpdates":         {Target: clusterTarget, Do: listUpdates},
	}
}

// maxUpdates is how many changes of a cluster are kept.
const maxUpdates = 100

type updateConfigInput struct {
	Access *accessConfig `json:"accessConfig"`
	Token  string        `json:"clientRequestToken"`
}

// updateTypes are what EKS calls a change of a setting.
var updateTypes = map[string]string{
	"resourcesVpcConfig":        "VpcConfigUpdate",
	"logging":                   "LoggingUpdate",
	"upgradePolicy":             "UpgradePolicyUpdate",
	"zonalShiftConfig":          "ZonalShiftConfigUpdate",
	"remoteNetworkConfig":       "RemoteNetworkConfigUpdate",
	"computeConfig":             "AutoModeUpdate",
	"storageConfig":             "AutoModeUpdate",
	"kubernetesNetworkConfig":   "AutoModeUpdate",
	"deletionProtection":        "DeletionProtectionUpdate",
	"controlPlaneScalingConfig": "ControlPlaneScalingConfigUpdate",
}

func configTarget(q *service.Call) (service.Target, error) {
	input, err := rest.Decode[updateConfigInput](q)
	if err != nil {
		return service.Target{}, err
	}
	target, err := clusterTarget(q)
	if input.Access != nil && input.Access.Mode != "" && err == nil {
		target.Context["eks:authenticationMode"] = input.Access.Mode
	}
	return target, err
}

// nextMode is the only direction in which the authentication mode changes.
var nextMode = map[string]string{"CONFIG_MAP": "API_AND_CONFIG_MAP", "API_AND_CONFIG_MAP": "API"}

func updateConfig(q *service.Call) (any, error) {
	input, err := rest.Decode[updateConfigInput](q)
	if err != nil {
		return nil, err
	}
	given, err := rest.Decode[map[string]json.RawMessage](q)
	if err != nil {
		return nil, err
	}
	if input.Access != nil {
		var v rest.Violations
		v.OneOf("accessConfig.authenticationMode", input.Access.Mode, modes...)
		if err := check(v); err != nil {
			return nil, err
		}
	}
	update := ClusterUpdate{
		ID:      uuid.NewString(),
		Created: q.Time.UTC(),
		Asked:   Asked{Token: input.Token, Digest: rest.Digest(q)},
	}
	err = within(q, func(state account.State, cluster *Cluster, _ InCluster) error {
		for _, earlier := range cluster.Updates {
			again, err := retried(earlier.Asked, update.Asked, earlier.Created, q)
			if err != nil || again {
				update = earlier
				return err
			}
		}
		if err := change(cluster, input.Access, *given, &update); err != nil {
			return err
		}
		cluster.Updates = append(cluster.Updates, update)
		cluster.Updates = cluster.Updates[max(0, len(cluster.Updates)-maxUpdates):]
		return PutCluster(state, cluster)
	})
	return updateResult(update, "InProgress"), err
}

// change makes one kind of change, as EKS does one at a time.
func change(cluster *Cluster, access *accessConfig, given map[string]json.RawMessage, update *ClusterUpdate) error {
	changed := pick(given, settings)
	if cluster.Settings == nil {
		cluster.Settings = map[string]json.RawMessage{}
	}
	for name, text := range changed {
		kind := updateTypes[name]
		if kind == "" || access != nil || (update.Type != "" && update.Type != kind) {
			return invalidParameter("Only one type of update can be allowed.").With("clusterName", cluster.Name)
		}
		update.Type = kind
		update.Params = append(update.Params, [2]string{name, string(text)})
		cluster.Settings[name] = text
	}
	switch {
	case access != nil && nextMode[cluster.Mode] != access.Mode:
		return invalidParameter(
			"Unsupported authentication mode update from %s to %s", cluster.Mode, access.Mode,
		).With("clusterName", cluster.Name)
	case access != nil:
		cluster.Mode, update.Type = access.Mode, "AccessConfigUpdate"
		update.Params = [][2]string{{"AuthenticationMode", access.Mode}}
	case len(changed) == 0:
		return invalidParameter("No changes needed").With("clusterName", cluster.Name)
	}
	slices.SortFunc(update.Params, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return nil
}

func updateResult(u ClusterUpdate, status string) any {
	type param struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	params := []param{}
	for _, one := range u.Params {
		params = append(params, param{one[0], one[1]})
	}
	return map[string]any{"update": map[string]any{
		"id":        u.ID,
		"status":    status,
		"type":      u.Type,
		"params":    params,
		"createdAt": wire.MilliTime(u.Created),
		"errors":    []string{},
	}}
}

func describeUpdate(q *service.Call) (result any, err error) {
	err = view(q, func(cluster *Cluster, _ InCluster) error {
		for _, one := range cluster.Updates {
			if one.ID == q.Segments["updateId"] {
				result = updateResult(one, "Successful")
				return nil
			}
		}
		return notFound("No update found for ID: %s", q.Segments["updateId"]).With("clusterName", cluster.Name)
	})
	return result, err
}

func listUpdates(q *service.Call) (any, error) {
	ids := []string{}
	if err := view(q, func(cluster *Cluster, _ InCluster) error {
		for _, one := range cluster.Updates {
			ids = append(ids, one.ID)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return page(q, "updateIds", ids, func(id string) string { return id }, nil)
}
