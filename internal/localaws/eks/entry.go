package eks

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func entryOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreateAccessEntry":   {Target: newEntryTarget, Do: createEntry},
		"DescribeAccessEntry": {Target: entryTarget, Do: describeEntry},
		"ListAccessEntries":   {Target: clusterTarget, Do: listEntries},
		"UpdateAccessEntry":   {Target: entryTarget, Do: updateEntry},
		"DeleteAccessEntry":   {Target: entryTarget, Do: deleteEntry},
	}
}

type entryInput struct {
	Principal string            `json:"principalArn"`
	Groups    *[]string         `json:"kubernetesGroups"`
	Username  *string           `json:"username"`
	Type      string            `json:"type"`
	Tags      map[string]string `json:"tags"`
	Token     string            `json:"clientRequestToken"`
}

func newEntryTarget(q *service.Call) (service.Target, error) {
	input, err := rest.Decode[entryInput](q)
	if err != nil {
		return service.Target{}, err
	}
	target, err := clusterTarget(q)
	if err != nil {
		return target, err
	}
	tagged(&target, input.Tags)
	entryKeys(&target, q, &AccessEntry{
		Principal: input.Principal,
		Type:      cmp.Or(input.Type, standard),
		Username:  value(input.Username),
		Groups:    value(input.Groups),
	})
	return target, nil
}

// entryKeys adds the condition keys of an access entry.
func entryKeys(target *service.Target, q *service.Call, e *AccessEntry) {
	target.Context["eks:clusterName"] = q.Segments["name"]
	target.Context["eks:principalArn"] = e.Principal
	target.Context["eks:accessEntryType"] = e.Type
	if e.Username != "" {
		target.Context["eks:username"] = e.Username
	}
	if len(e.Groups) > 0 {
		target.Lists["eks:kubernetesGroups"] = e.Groups
	}
}

func value[T any](pointer *T) T {
	if pointer == nil {
		var zero T
		return zero
	}
	return *pointer
}

// entryTarget is the access entry of the request's path. One that does not
// exist has no id, which is shown as a star.
func entryTarget(q *service.Call) (service.Target, error) {
	name, text := q.Segments["name"], q.Segments["principalArn"]
	p, _ := parsePrincipal(text)
	target := service.Target{
		ARN:     accessEntryARN(q.Account, q.Region, name, p.kind+"/"+p.account+"/"+p.name+"/*"),
		Context: map[string]string{"eks:clusterName": name, "eks:principalArn": text}, Lists: map[string][]string{},
	}
	err := q.Account.View(func(state account.State) error {
		entry, err := In(state, q.Region, name).Entry(text)
		if err == nil {
			target.ARN, target.Tags = entry.ARN, entry.Tags
			entryKeys(&target, q, entry)
		}
		return unlessNotFound(err)
	})
	return target, err
}

// checkMode: without access entries in the authentication mode there are none.
func checkMode(cluster *Cluster) error {
	if cluster.Mode == "CONFIG_MAP" {
		return invalidRequest(
			"The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this "+
				"operation.",
		).With("clusterName", cluster.Name)
	}
	return nil
}

func noEntry(cluster string) error {
	return notFound(
		"The specified principalArn could not be found. You can view your available access entries with "+
			"'list-access-entries'.",
	).With("clusterName", cluster)
}

func findEntry(cluster *Cluster, in InCluster, q *service.Call) (*AccessEntry, error) {
	if err := checkMode(cluster); err != nil {
		return nil, err
	}
	found, err := in.Entry(q.Segments["principalArn"])
	if errors.Is(err, account.ErrNotFound) {
		return nil, noEntry(cluster.Name)
	}
	return found, err
}

func createEntry(q *service.Call) (any, error) {
	input, err := rest.Decode[entryInput](q)
	if err != nil {
		return nil, err
	}
	var v rest.Violations
	v.Present("principalArn", input.Principal != "")
	if err := check(v); err != nil {
		return nil, err
	}
	tags, err := readTags(input.Tags)
	if err != nil {
		return nil, err
	}
	kind := cmp.Or(input.Type, standard)
	if _, known := types[kind]; !known {
		return nil, invalidParameter(
			"The type %s is invalid, it must be one of %v", kind, slices.Sorted(maps.Keys(types)),
		)
	}
	named, ok := parsePrincipal(input.Principal)
	if !ok {
		return nil, invalidParameter("The principalArn parameter format is not valid").
			Because("want the ARN of an IAM user or role, not of a session, a group or a pattern")
	}
	if err := input.check(kind); err != nil {
		return nil, err
	}
	entry := &AccessEntry{
		Principal: input.Principal,
		Type:      kind,
		Username:  cmp.Or(value(input.Username), named.username(kind)),
		Groups:    slices.Concat(types[kind], value(input.Groups)),
		Tags:      tags,
		Created:   q.Time.UTC(),
		Modified:  q.Time.UTC(),
		Asked:     Asked{Token: input.Token, Digest: rest.Digest(q)},
	}
	err = within(q, func(state account.State, cluster *Cluster, in InCluster) error {
		if err := checkMode(cluster); err != nil {
			return err
		}
		earlier, err := in.Entry(input.Principal)
		if err == nil {
			again, err := retried(earlier.Asked, entry.Asked, earlier.Created, q)
			if again || err != nil {
				entry = earlier
				return err
			}
		} else if !errors.Is(err, account.ErrNotFound) {
			return err
		}
		if entry.PrincipalID, err = named.checkFor(state, kind); err != nil {
			return err
		}
		if earlier != nil {
			return inUse(
				"The specified access entry resource is already in use on this cluster.",
			).With("clusterName", cluster.Name)
		}
		entry.ARN = named.entryARN(q, cluster.Name)
		return in.PutEntry(entry)
	})
	return entryResult(q, entry), err
}

// check refuses names that an entry of a type cannot have.
func (i *entryInput) check(kind string) error {
	if kind != standard && (value(i.Username) != "" || len(value(i.Groups)) > 0) {
		return invalidParameter(
			"The username and the kubernetesGroups of an access entry of type %s cannot be set.", kind,
		)
	}
	if err := checkUsername(value(i.Username)); err != nil {
		return err
	}
	return checkGroups(value(i.Groups))
}

func entryResult(q *service.Call, e *AccessEntry) any {
	groups := e.Groups
	if groups == nil {
		groups = []string{}
	}
	return map[string]any{"accessEntry": map[string]any{
		"clusterName":      q.Segments["name"],
		"principalArn":     e.Principal,
		"kubernetesGroups": groups,
		"accessEntryArn":   e.ARN,
		"createdAt":        wire.MilliTime(e.Created),
		"modifiedAt":       wire.MilliTime(e.Modified),
		"tags":             tagMap(e.Tags),
		"username":         e.Username,
		"type":             e.Type,
	}}
}

func describeEntry(q *service.Call) (result any, err error) {
	err = view(q, func(cluster *Cluster, in InCluster) error {
		entry, err := findEntry(cluster, in, q)
		if err == nil {
			result = entryResult(q, entry)
		}
		return err
	})
	return result, err
}

func listEntries(q *service.Call) (any, error) {
	principals := []string{}
	with := q.HTTP.URL.Query().Get("associatedPolicyArn")
	err := view(q, func(cluster *Cluster, in InCluster) error {
		if err := checkMode(cluster); err != nil {
			return err
		}
		entries, err := in.Entries()
		for _, entry := range entries {
			if with == "" || slices.ContainsFunc(entry.Policies, func(p AccessPolicy) bool { return p.ARN == with }) {
				principals = append(principals, entry.Principal)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return page(q, "accessEntries", principals, func(name string) string { return name }, nil)
}

// changeEntry does something with the entry of the request's path.
func changeEntry(q *service.Call, do func(InCluster, *AccessEntry) error) error {
	return within(q, func(_ account.State, cluster *Cluster, in InCluster) error {
		entry, err := findEntry(cluster, in, q)
		if err != nil {
			return err
		}
		return do(in, entry)
	})
}

func onlyStandard() error {
	return invalidParameter("This operation can only be performed on Access Entries with a type of \"STANDARD\".")
}

func updateEntry(q *service.Call) (result any, err error) {
	input, err := rest.Decode[entryInput](q)
	if err != nil {
		return nil, err
	}
	if err := input.check(standard); err != nil {
		return nil, err
	}
	err = changeEntry(q, func(in InCluster, entry *AccessEntry) error {
		if entry.Type != standard {
			return onlyStandard()
		}
		if input.Groups != nil {
			entry.Groups = *input.Groups
		}
		if input.Username != nil {
			p, _ := parsePrincipal(entry.Principal)
			entry.Username = cmp.Or(*input.Username, p.username(standard))
		}
		entry.Modified = q.Time.UTC()
		result = entryResult(q, entry)
		return in.PutEntry(entry)
	})
	return result, err
}

func deleteEntry(q *service.Call) (any, error) {
	return nil, changeEntry(q, func(in InCluster, entry *AccessEntry) error { return in.deleteEntry(entry.Principal) })
}
