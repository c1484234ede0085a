package association

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Pages of a list (spec podidentity §13.2).
const maxPage = 100

var idForm = lazyregexp.New(`^a-[a-z0-9]{17}$`)

// nextToken stands for all that comes after an id in one list. It says the id,
// not a place, so that what is deleted meanwhile makes nothing skipped.
func nextToken(in *ListInput, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(id + " " + pageSum(in, id)))
}

// pageSum keeps a token with the list it was given for. It is not a secret:
// somebody who makes one up gets what a list shows anyway.
func pageSum(in *ListInput, id string) string {
	return digest([]byte(strings.Join([]string{"page", in.Namespace, in.ServiceAccount, id}, "\n")))
}

// after returns the id that a token stands for; empty for an empty token.
func (in *ListInput) after() (string, error) {
	if in.NextToken == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(in.NextToken)
	id, sum, _ := strings.Cut(string(text), " ")
	if err != nil || !idForm.MatchString(id) || sum != pageSum(in, id) || nextToken(in, id) != in.NextToken {
		return "", refuse(fault.Invalid, ErrPageToken, "The nextToken does not belong to this list.").
			Hint("begin again without nextToken")
	}
	return id, nil
}

// page sorts by id, and returns what comes after one.
func page(
	all []v1alpha1.PodIdentityAssociation, after string, size int, in *ListInput,
) (items []v1alpha1.PodIdentityAssociation, next string) {
	slices.SortFunc(all, func(a, b v1alpha1.PodIdentityAssociation) int { return strings.Compare(ID(&a), ID(&b)) })
	first, _ := slices.BinarySearchFunc(all, after, func(a v1alpha1.PodIdentityAssociation, id string) int {
		if ID(&a) <= id {
			return -1
		}
		return 1
	})
	all = all[first:]
	if len(all) <= size {
		return all, ""
	}
	return all[:size:size], nextToken(in, ID(&all[size-1]))
}
