package iam

import (
	"slices"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

type versionResult struct{ PolicyVersion versionXML }

type versionXML struct {
	Document         string `xml:",omitempty" json:",omitempty"`
	VersionID        string `xml:"VersionId" json:"VersionId"`
	IsDefaultVersion bool
	CreateDate       wire.Time
}

func createVersion(q *service.Call) (any, error) {
	text := q.Text("PolicyDocument", documentLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := CheckManaged(text); err != nil {
		return nil, err
	}
	var result versionResult
	err := changePolicy(q, func(state account.State, one *account.ManagedPolicy) error {
		if len(one.Versions) >= maxVersions {
			return limitExceeded(
				"A managed policy can have up to %d versions. Before you create a new version, you must delete an "+
					"existing version.",
				maxVersions,
			)
		}
		before := one.Default().ID
		made := AddVersion(one, text, q.Time.UTC())
		result.PolicyVersion = versionXML{
			VersionID:        made.ID,
			IsDefaultVersion: true,
			CreateDate:       wire.Time(made.Created),
		}
		if q.Get("SetAsDefault") != "true" {
			makeDefault(one, before)
			result.PolicyVersion.IsDefaultVersion = false
		}
		return state.PutPolicy(one)
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

func makeDefault(one *account.ManagedPolicy, id string) {
	for i := range one.Versions {
		one.Versions[i].Default = one.Versions[i].ID == id
	}
}

var versionLimit = wire.Constraint{Min: 1, Pattern: lazyregexp.New(`^v[1-9][0-9]*(\.[A-Za-z0-9-]*)?$`)}

// versionOf finds the version of the request.
func versionOf(q *service.Call, one *account.ManagedPolicy) (int, error) {
	id := q.Get("VersionId")
	i := slices.IndexFunc(one.Versions, func(v account.PolicyVersion) bool { return v.ID == id })
	if i < 0 {
		return 0, noSuchEntity("Policy %s version %s does not exist or is not attachable.", q.Get("PolicyArn"), id)
	}
	return i, nil
}

func getVersion(q *service.Call) (any, error) {
	q.Text("VersionId", versionLimit)
	var result versionResult
	err := policies.view(q, func(_ account.State, one *account.ManagedPolicy) error {
		i, err := versionOf(q, one)
		if err == nil {
			v := one.Versions[i]
			result.PolicyVersion = versionXML{escape(v.Text), v.ID, v.Default, wire.Time(v.Created)}
		}
		return err
	})
	return result, err
}

type versionsResult struct {
	Versions wire.List[versionXML]
	pageEnd
}

func listVersions(q *service.Call) (any, error) {
	var result versionsResult
	err := policies.view(q, func(_ account.State, one *account.ManagedPolicy) error {
		newest := slices.Clone(one.Versions)
		slices.Reverse(newest)
		onPage, end, err := pageUnsorted(q, newest, func(v account.PolicyVersion) string { return v.ID })
		result.pageEnd = end
		for _, v := range onPage {
			result.Versions = append(result.Versions, versionXML{"", v.ID, v.Default, wire.Time(v.Created)})
		}
		return err
	})
	return result, err
}

func setDefault(q *service.Call) (any, error) {
	q.Text("VersionId", versionLimit)
	return nil, changePolicy(q, func(state account.State, one *account.ManagedPolicy) error {
		i, err := versionOf(q, one)
		if err != nil {
			return err
		}
		makeDefault(one, one.Versions[i].ID)
		one.Updated = q.Time.UTC()
		return state.PutPolicy(one)
	})
}

func deleteVersion(q *service.Call) (any, error) {
	q.Text("VersionId", versionLimit)
	return nil, changePolicy(q, func(state account.State, one *account.ManagedPolicy) error {
		i, err := versionOf(q, one)
		switch {
		case err != nil:
			return err
		case one.Versions[i].Default:
			return deleteConflict("Cannot delete the default version of a policy.")
		}
		one.Versions = slices.Delete(one.Versions, i, i+1)
		return state.PutPolicy(one)
	})
}
