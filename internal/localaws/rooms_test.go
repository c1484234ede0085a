package localaws_test

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/localaws/iam"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/sts"
)

// TestOperationNames: what a room lists, emulated or not, is what the SDK has,
// so that every other name is an InvalidAction.
func TestOperationNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		room   *service.Service
		client any
	}{
		{iam.New(), &sdkiam.Client{}},
		{(&sts.Service{}).Operations(), &sdksts.Client{}},
	} {
		known := slices.Sorted(
			slices.Values(append(slices.Collect(maps.Keys(row.room.Operations)), row.room.Others...)),
		)
		var want []string
		client := reflect.TypeOf(row.client)
		for method := range client.Methods() {
			if name := method.Name; name != "Options" {
				want = append(want, name)
			}
		}
		if diff := cmp.Diff(want, known); diff != "" {
			t.Errorf("operations of %s mismatch (-want +got):\n%s", row.room.Name, diff)
		}
	}
}
