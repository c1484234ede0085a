// Package eks is local AWS's Elastic Kubernetes Service: clusters as records,
// access entries, access policies and Pod Identity associations, with EKS's
// rules and messages.
//
// It runs no cluster and hands out no credentials; see package eksauth.
package eks

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// New returns EKS. It keeps nothing itself: each call brings its account.
func New() *service.Service {
	operations := map[string]service.Operation{}
	for _, table := range []map[string]service.Operation{
		clusterOperations(), updateOperations(), entryOperations(), policyOperations(), associationOperations(),
		tagOperations(),
	} {
		maps.Copy(operations, table)
	}
	return &service.Service{
		Name:       "eks",
		Protocol:   wire.RESTJSON,
		Version:    "2017-11-01",
		Operations: operations,
		Others:     routes.Names(),
		Route:      route,
		Tables:     []account.Table{clusterTable, entryTable, associationTable, bindingTable, askedTable},
	}
}

var validRegion = lazyregexp.New(`^[a-z0-9-]{1,64}$`)

// route finds the operation. The region becomes part of ARNs, so it must look
// like one.
func route(q *service.Call) string {
	if !validRegion.MatchString(q.Region) {
		return ""
	}
	return routes.Find(q)
}

func invalidParameter(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, "InvalidParameterException", format, args...)
}

func invalidRequest(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, "InvalidRequestException", format, args...)
}

func notFound(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusNotFound, "ResourceNotFoundException", format, args...)
}

func inUse(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusConflict, "ResourceInUseException", format, args...)
}

// check refuses what the service model does not allow.
func check(violations rest.Violations) error {
	if text := violations.Error(); text != "" {
		return invalidParameter("%s", text)
	}
	return nil
}

// NoCluster is what EKS says about a cluster that does not exist.
func NoCluster(name string) *wire.Error {
	return notFound("No cluster found for name: %s.", name).With("clusterName", name)
}

func findCluster(state account.State, q *service.Call) (*Cluster, error) {
	name := q.Segments["name"]
	found, err := GetCluster(state, q.Region, name)
	if errors.Is(err, account.ErrNotFound) {
		return nil, NoCluster(name)
	}
	return found, err
}

// within does something in the cluster of the request's path.
func within(q *service.Call, do func(account.State, *Cluster, InCluster) error) error {
	return wrap(q.Account.Update(func(state account.State) error {
		cluster, err := findCluster(state, q)
		if err != nil {
			return err
		}
		return do(state, cluster, In(state, cluster.Region, cluster.Name))
	}), q)
}

// view reads something of the cluster of the request's path.
func view(q *service.Call, do func(*Cluster, InCluster) error) error {
	return wrap(q.Account.View(func(state account.State) error {
		cluster, err := findCluster(state, q)
		if err != nil {
			return err
		}
		return do(cluster, In(state, cluster.Region, cluster.Name))
	}), q)
}

func wrap(err error, q *service.Call) error {
	if _, answered := errors.AsType[*wire.Error](err); err == nil || answered {
		return err
	}
	return fmt.Errorf("%s: %w", q.Operation, err)
}

// clusterTarget is the cluster of the request's path, as policies see it.
func clusterTarget(q *service.Call) (service.Target, error) {
	return targetOf(q, q.Segments["name"])
}

func targetOf(q *service.Call, name string) (service.Target, error) {
	target := service.Target{
		ARN:     ClusterARN(q.Account, q.Region, name),
		Context: map[string]string{},
		Lists:   map[string][]string{},
	}
	err := q.Account.View(func(state account.State) error {
		cluster, err := GetCluster(state, q.Region, name)
		if err == nil {
			target.Tags = cluster.Tags
		}
		return unlessNotFound(err)
	})
	return target, err
}

func unlessNotFound(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return nil
	}
	return err
}

// tagged adds the condition keys of the tags that a call brings.
func tagged(target *service.Target, tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	for key, text := range tags {
		target.Context["aws:RequestTag/"+key] = text
	}
	target.Lists["aws:TagKeys"] = slices.Sorted(maps.Keys(tags))
}

// retried reports whether a call repeats an earlier one: the same token within a
// day. With different content it is refused.
func retried(earlier, now Asked, at time.Time, q *service.Call) (bool, error) {
	if now.Token == "" || earlier.Token != now.Token || q.Time.Sub(at) > 24*time.Hour {
		return false, nil
	}
	if earlier.Digest != now.Digest {
		return false, invalidParameter(
			"The clientRequestToken was used before with other parameters.",
		).With("clusterName", q.Segments["name"])
	}
	return true, nil
}

const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// CheckTags returns what is wrong with the tags of one resource; empty if they
// are right.
func CheckTags(tags map[string]string) string {
	if len(tags) > maxTags {
		return fmt.Sprintf("A resource has at most %d tags.", maxTags)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		switch {
		case key == "" || len([]rune(key)) > maxTagKey || len([]rune(tags[key])) > maxTagValue:
			return fmt.Sprintf(
				"The tag %q is not valid: keys have 1 to %d characters, values at most %d.", key, maxTagKey,
				maxTagValue,
			)
		case strings.HasPrefix(arn.FoldKey(key), "aws:"):
			return "Tag keys beginning with aws: are reserved."
		}
	}
	return ""
}

// readTags checks and sorts the tags of something that is created.
func readTags(tags map[string]string) ([]account.Tag, error) {
	if problem := CheckTags(tags); problem != "" {
		return nil, invalidParameter("%s", problem)
	}
	return Tags(tags), nil
}

// Tags sorts tags by key.
func Tags(tags map[string]string) []account.Tag {
	var list []account.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, account.Tag{Key: key, Value: tags[key]})
	}
	return list
}

// tagMap is how EKS shows tags.
func tagMap(tags []account.Tag) map[string]string {
	byKey := map[string]string{}
	for _, tag := range tags {
		byKey[tag.Key] = tag.Value
	}
	return byKey
}
