package eks

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func tagOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"TagResource":         {Target: taggedTarget, Do: tagResource},
		"UntagResource":       {Target: taggedTarget, Do: untagResource},
		"ListTagsForResource": {Target: taggedTarget, Do: listTags},
	}
}

type tagInput struct {
	Tags map[string]string `json:"tags"`
}

func badRequest(format string, args ...any) error {
	return wire.Errorf(http.StatusBadRequest, "BadRequestException", format, args...)
}

// taggable is something with tags, and how it is stored again.
type taggable struct {
	tags []account.Tag
	put  func([]account.Tag) error
}

// findTagged finds what the ARN in the path names; account.ErrNotFound if that
// is nothing.
func findTagged(state account.State, q *service.Call) (*taggable, error) {
	text := q.Segments["resourceArn"]
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "eks" || parsed.Partition != q.Account.Partition {
		return nil, badRequest("Invalid ARN: %s", text)
	}
	parts := strings.Split(parsed.Resource, "/")
	if parsed.Region != q.Region || parsed.Account != q.Account.ID || len(parts) < 2 {
		return nil, account.ErrNotFound
	}
	in := In(state, q.Region, parts[1])
	switch {
	case parts[0] == "cluster" && len(parts) == 2:
		cluster, err := GetCluster(state, q.Region, parts[1])
		if err != nil {
			return nil, err
		}
		return &taggable{cluster.Tags, func(tags []account.Tag) error {
			cluster.Tags = tags
			return PutCluster(state, cluster)
		}}, nil
	case parts[0] == "podidentityassociation" && len(parts) == 3:
		one, err := in.Association(parts[2])
		if err != nil {
			return nil, err
		}
		return &taggable{one.Tags, func(tags []account.Tag) error {
			one.Tags = tags
			return in.PutAssociation(one)
		}}, nil
	case parts[0] == "access-entry":
		entries, err := in.Entries()
		at := slices.IndexFunc(entries, func(e *AccessEntry) bool { return e.ARN == text })
		if err != nil || at < 0 {
			return nil, errors.Join(err, account.ErrNotFound)
		}
		return &taggable{entries[at].Tags, func(tags []account.Tag) error {
			entries[at].Tags = tags
			return in.PutEntry(entries[at])
		}}, nil
	}
	return nil, account.ErrNotFound
}

func taggedTarget(q *service.Call) (service.Target, error) {
	input, err := rest.Decode[tagInput](q)
	if err != nil {
		return service.Target{}, err
	}
	target := service.Target{ARN: q.Segments["resourceArn"], Context: map[string]string{}, Lists: map[string][]string{}}
	tagged(&target, input.Tags)
	if keys := q.HTTP.URL.Query()["tagKeys"]; len(keys) > 0 {
		target.Lists["aws:TagKeys"] = keys
	}
	err = q.Account.View(func(state account.State) error {
		found, err := findTagged(state, q)
		if err == nil {
			target.Tags = found.tags
		}
		return unlessNotFound(err)
	})
	return target, err
}

// changeTags replaces the tags of what the path names.
func changeTags(q *service.Call, change func([]account.Tag) ([]account.Tag, error)) error {
	err := q.Account.Update(func(state account.State) error {
		found, err := findTagged(state, q)
		if err != nil {
			return err
		}
		tags, err := change(found.tags)
		if err != nil {
			return err
		}
		return found.put(tags)
	})
	return noResource(err, q)
}

func noResource(err error, q *service.Call) error {
	if errors.Is(err, account.ErrNotFound) {
		return wire.Errorf(
			http.StatusNotFound, "NotFoundException", "No resource found for ARN: %s", q.Segments["resourceArn"],
		)
	}
	return wrap(err, q)
}

func tagResource(q *service.Call) (any, error) {
	input, err := rest.Decode[tagInput](q)
	if err != nil {
		return nil, err
	}
	if len(input.Tags) == 0 {
		return nil, badRequest(
			"1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must not be null",
		)
	}
	return nil, changeTags(q, func(old []account.Tag) ([]account.Tag, error) {
		merged := tagMap(old)
		maps.Copy(merged, input.Tags)
		if problem := CheckTags(merged); problem != "" {
			return nil, badRequest("%s", problem)
		}
		return Tags(merged), nil
	})
}

func untagResource(q *service.Call) (any, error) {
	keys := q.HTTP.URL.Query()["tagKeys"]
	if len(keys) == 0 {
		return nil, badRequest(
			"1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be " +
				"null",
		)
	}
	return nil, changeTags(q, func(old []account.Tag) ([]account.Tag, error) {
		return slices.DeleteFunc(old, func(tag account.Tag) bool { return slices.Contains(keys, tag.Key) }), nil
	})
}

func listTags(q *service.Call) (any, error) {
	tags := map[string]string{}
	err := q.Account.View(func(state account.State) error {
		found, err := findTagged(state, q)
		if err == nil {
			tags = tagMap(found.tags)
		}
		return err
	})
	return map[string]any{"tags": tags}, noResource(err, q)
}
