package plane

import (
	"context"
	"errors"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/manifest"
	"github.com/rolecall/rolecall/internal/store/boltstore"
)

// openAssociations opens the store, and puts the quickstart's associations into
// one that has none; those of files are as the files say.
func openAssociations(ctx context.Context, config *Config) (*boltstore.Store, error) {
	store := boltstore.Memory(config.Now)
	if config.DataDir != "" {
		var err error
		if store, err = boltstore.Open(associationsFile(config.DataDir), config.Now); err != nil {
			return nil, err
		}
	}
	err := removeTemporary(ctx, store)
	if err == nil {
		err = declare(ctx, store, config.Manifests)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// bounds are what associations may choose here: the broker has no identity for pods.
var bounds = association.Bounds{Default: v1alpha1.Federated}

func declare(ctx context.Context, store *boltstore.Store, files []string) error {
	var sources []manifest.Source
	if store.Current().Len() == 0 {
		sources = append(sources, manifest.Source{Name: "quickstart", Text: quickstart.PodIdentity})
	}
	for _, file := range files {
		more, err := manifest.ReadFiles(file)
		if err != nil {
			return err
		}
		sources = append(sources, more...)
	}
	declared, err := manifest.Associations(sources)
	if err != nil {
		return err
	}
	for i := range declared {
		if err := bounds.Check(&declared[i].PodIdentityAssociation); err != nil {
			return fault.New(fault.KindOf(err), "%s: association %s/%s: %w", declared[i].Place, declared[i].Namespace,
				declared[i].Name, err)
		}
		if err := put(ctx, store, &declared[i].PodIdentityAssociation); err != nil {
			return fault.New(fault.KindOf(err), "%s: association %s/%s: %w", declared[i].Place, declared[i].Namespace,
				declared[i].Name, err)
		}
	}
	return nil
}

func put(ctx context.Context, store *boltstore.Store, wanted *v1alpha1.PodIdentityAssociation) error {
	_, err := store.Create(ctx, wanted)
	if fault.KindOf(err) != fault.Conflict {
		return err
	}
	present, err := store.Get(ctx, wanted.Namespace, wanted.Name)
	if err != nil {
		return err
	}
	present.Spec = wanted.Spec
	_, err = store.Update(ctx, present)
	return err
}

func answerFault(w http.ResponseWriter, err error) {
	known := map[fault.Kind]struct {
		code   int
		reason metav1.StatusReason
	}{
		fault.NotFound: {http.StatusNotFound, metav1.StatusReasonNotFound},
		fault.Conflict: {http.StatusConflict, metav1.StatusReasonAlreadyExists},
		fault.Invalid:  {http.StatusUnprocessableEntity, metav1.StatusReasonInvalid},
	}
	status, found := known[fault.KindOf(err)]
	if !found {
		status.code, status.reason = http.StatusInternalServerError, metav1.StatusReasonInternalError
	}
	answerStatus(w, status.code, status.reason, err.Error())
}
