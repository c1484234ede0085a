package iam

import (
	"slices"
	"sort"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
)

// pageEnd ends a list.
type pageEnd struct {
	IsTruncated bool
	Marker      string `xml:",omitempty" json:",omitempty"`
}

// page cuts a list that is sorted by name; the marker is the last name of the
// page before, so that entities may be added and removed between two pages.
func page[T any](q *service.Call, items []T, name func(T) string) ([]T, pageEnd, error) {
	marker, size, err := pageParameters(q)
	if err != nil {
		return nil, pageEnd{}, err
	}
	first := sort.Search(len(items), func(i int) bool { return name(items[i]) > marker })
	if marker == "" {
		first = 0
	}
	onPage, end := cut(items[first:], size, name)
	return onPage, end, nil
}

// pageUnsorted cuts a list of another order, and starts over if the last item
// of the page before is gone.
func pageUnsorted[T any](q *service.Call, items []T, name func(T) string) ([]T, pageEnd, error) {
	marker, size, err := pageParameters(q)
	if err != nil {
		return nil, pageEnd{}, err
	}
	first := 1 + slices.IndexFunc(items, func(item T) bool { return marker != "" && name(item) == marker })
	onPage, end := cut(items[first:], size, name)
	return onPage, end, nil
}

func pageParameters(q *service.Call) (marker string, size int, err error) {
	marker = q.Text("Marker", markerLimit)
	if size, err = q.Int("MaxItems", defaultPage, 1, maxPage); err != nil {
		return "", 0, err
	}
	return marker, size, q.Check()
}

func cut[T any](items []T, size int, name func(T) string) ([]T, pageEnd) {
	if len(items) > size {
		return items[:size], pageEnd{true, name(items[size-1])}
	}
	return items, pageEnd{}
}

// listBelow reads a page of the entities of a kind whose path begins with the
// request's PathPrefix, by name. It reads on from the marker: reading
// everything for each page would make listing many quadratic.
func listBelow[T any](
	q *service.Call,
	after func(state account.State, name string, f func(T) bool) error,
	pathAndName func(T) (path, name string),
) ([]T, pageEnd, error) {
	prefix := q.Text("PathPrefix", pathLimit)
	marker, size, err := pageParameters(q)
	if err != nil {
		return nil, pageEnd{}, err
	}
	var items []T
	if err := q.Account.View(func(state account.State) error {
		return after(state, marker, func(item T) bool {
			if path, _ := pathAndName(item); strings.HasPrefix(path, prefix) {
				items = append(items, item)
			}
			return len(items) <= size
		})
	}); err != nil {
		return nil, pageEnd{}, wrap(err, "list")
	}
	onPage, end := cut(items, size, func(item T) string {
		_, name := pathAndName(item)
		return name
	})
	return onPage, end, nil
}
