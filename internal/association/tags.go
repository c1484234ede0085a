package association

import (
	"context"
	"maps"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Tag adds tags to an association, and replaces those of the same keys.
func (s *Service) Tag(ctx context.Context, id string, tags map[string]string) error {
	if len(tags) == 0 {
		return invalid("tags", "want at least one tag")
	}
	_, err := s.change(ctx, id, func(a *v1alpha1.PodIdentityAssociation) (bool, error) {
		before := maps.Clone(a.Spec.Tags)
		if a.Spec.Tags == nil {
			a.Spec.Tags = map[string]string{}
		}
		maps.Copy(a.Spec.Tags, tags)
		return !maps.Equal(before, a.Spec.Tags), checkTagMap("tags", a.Spec.Tags, maxTags)
	})
	return err
}

// Untag removes tags; keys that are not there do not matter.
func (s *Service) Untag(ctx context.Context, id string, keys []string) error {
	if len(keys) == 0 {
		return invalid("tagKeys", "want at least one key")
	}
	_, err := s.change(ctx, id, func(a *v1alpha1.PodIdentityAssociation) (bool, error) {
		before := len(a.Spec.Tags)
		for _, key := range keys {
			delete(a.Spec.Tags, key)
		}
		return len(a.Spec.Tags) != before, nil
	})
	return err
}

// Tags returns an association's tags; never nil.
func (s *Service) Tags(ctx context.Context, id string) (map[string]string, error) {
	a, err := s.Describe(ctx, id)
	if err != nil {
		return nil, err
	}
	if a.Spec.Tags == nil {
		return map[string]string{}, nil
	}
	return a.Spec.Tags, nil
}
