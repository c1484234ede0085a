package inject_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
)

// TestConfig: the closest entry holds, and what cannot be read is told and left
// out (spec webhook rows Q20, Q22).
func TestConfig(t *testing.T) {
	t.Parallel()
	settings := inject.Defaults()
	settings.ConfigGlobs = true
	config, problems, err := inject.ParseConfig([]byte(`{
		"a-1/s":{"RoleARN":"exact"}, "a-*/s":{"RoleARN":"near"}, "*-1/s":{"RoleARN":"ends"}, "*/s":{"RoleARN":"all"},
		"a*/s":{"RoleARN":"far"},
		"nokey":{"RoleARN":"x"}, "n/null":null, "n/list":[]}`), settings)
	if err != nil || config.Len() != 5 {
		t.Fatalf("%d entries, %v", config.Len(), err)
	}
	if got := fmt.Sprint(problems); len(problems) != 3 ||
		!strings.Contains(got, `"nokey": the key is not NAMESPACE/SERVICEACCOUNT`) ||
		!strings.Contains(got, `"n/null": it is null`) {
		t.Errorf("problems %s", got)
	}
	for namespace, want := range map[string]string{
		"a-1": "exact",
		"a-2": "near",
		"ab":  "far",
		"b-1": "ends",
		"b":   "all",
	} {
		account, exact := config.Find(inject.Name{Namespace: namespace, ServiceAccount: "s"})
		if account == nil || account.Role != want || exact != (want == "exact") || !account.Malformed {
			t.Errorf("%s: %+v, exact %t", namespace, account, exact)
		}
	}
	if account, _ := config.Find(inject.Name{Namespace: "b", ServiceAccount: "t"}); account != nil {
		t.Errorf("another account: %+v", account)
	}
	for _, document := range []string{"", "x", "[]", `{"a/b":1`} {
		if _, _, err := inject.ParseConfig([]byte(document), settings); err == nil {
			t.Errorf("%q reads", document)
		}
	}
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	identities, err := inject.ParseIdentities([]byte(`{"identities":[{"namespace":"n","serviceAccount":"s",` +
		`"future":1},{"namespace":"n","serviceAccount":"s"}],"more":{}}`))
	if err != nil || len(identities) != 1 || !identities.Has(inject.Name{Namespace: "n", ServiceAccount: "s"}) {
		t.Errorf("%v %v", identities, err)
	}
	if identities, err := inject.ParseIdentities(nil); err != nil || identities == nil || len(identities) != 0 {
		t.Errorf("an empty file: %v %v", identities, err)
	}
	if _, err := inject.ParseIdentities([]byte(`{"identities"`)); err == nil {
		t.Error("half a file reads")
	}
}

// FuzzConfig: whatever the document, no lifetime is one the API server refuses,
// and an entry without a role gives none.
func FuzzConfig(f *testing.F) {
	f.Add(`{"n/s":{"RoleARN":"r","TokenExpiration":-5}}`, "n", "s")
	f.Add(`{"*/s":{"RoleARN":"r"},"n*/s":{}}`, "n1", "s")
	f.Fuzz(func(t *testing.T, document, namespace, name string) {
		settings := inject.Defaults()
		settings.ConfigGlobs = true
		config, _, err := inject.ParseConfig([]byte(document), settings)
		if err != nil {
			return
		}
		if account, _ := config.Find(inject.Name{
			Namespace:      namespace,
			ServiceAccount: name,
		}); account != nil && (account.Expiration < 600 || account.Audience == "") {
			t.Errorf("%s: %+v", document, account)
		}
		_, _ = inject.ParseIdentities([]byte(document))
	})
}
