package iam

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// readTags reads Tags.member.N.
func readTags(q *service.Call) ([]account.Tag, error) {
	var tags []account.Tag
	for _, m := range q.Members("Tags") {
		tags = append(tags, account.Tag{Key: q.Get(m + ".Key"), Value: q.Get(m + ".Value")})
	}
	return tags, CheckTags(tags)
}

// CheckTags is the rule for the tags of one resource.
func CheckTags(tags []account.Tag) error {
	seen := map[string]bool{}
	for _, tag := range tags {
		switch {
		case tag.Key == "" || len(tag.Key) > 128 || len(tag.Value) > 256:
			return wire.Errorf(
				http.StatusBadRequest, "ValidationError",
				"The tag %q is not valid: keys have 1 to 128 characters, values at most 256.", tag.Key,
			)
		case strings.HasPrefix(arn.FoldKey(tag.Key), "aws:"):
			return invalidInput("Tag keys beginning with aws: are reserved.")
		case seen[tag.Key]:
			return invalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[tag.Key] = true
	}
	if len(tags) > maxTags {
		return limitExceeded("The number of tags has reached the maximum limit.")
	}
	return nil
}

// mergeTags sets tags, new values replacing old ones, sorted by key.
func mergeTags(old, added []account.Tag) ([]account.Tag, error) {
	merged := removeTags(old, tagKeys(added))
	merged = append(merged, added...)
	slices.SortFunc(merged, func(a, b account.Tag) int { return strings.Compare(a.Key, b.Key) })
	return merged, CheckTags(merged)
}

func removeTags(tags []account.Tag, keys []string) []account.Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(tag account.Tag) bool { return slices.Contains(keys, tag.Key) })
}

func tagKeys(tags []account.Tag) []string {
	keys := make([]string, len(tags))
	for i, tag := range tags {
		keys[i] = tag.Key
	}
	return keys
}

// tagsResult is the answer of both operations that list tags.
type tagsResult struct {
	Tags wire.List[account.Tag]
	pageEnd
}

func listTags(q *service.Call, tags []account.Tag) (any, error) {
	onPage, end, err := page(q, tags, func(tag account.Tag) string { return tag.Key })
	if err != nil {
		return nil, err
	}
	return tagsResult{onPage, end}, nil
}
