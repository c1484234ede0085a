package rolecall_test

import (
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rolecall/rolecall/"

// layers lists the rooms from the inside out. A room may import rooms of the
// layers before its own, and of its own layer only where together says so.
var layers = [][]string{
	{"internal/arn"},
	{"internal/audit", "internal/credential", "internal/fault", "internal/glob", "internal/rawjson", "internal/policy", "internal/managedpolicy", "internal/rotation", "internal/distribution", "internal/issuer/bucket", "api/**"},
	{"internal/sigv4", "internal/token", "internal/policycase", "internal/grant", "internal/association", "internal/callerid"},
	{"internal/atomicfile", "internal/issuer/document", "internal/trust", "internal/association/admission"},
	{"internal/issuer/inspect", "internal/issuer/plan"},
	{"internal/inject", "internal/awsapi", "internal/follow", "internal/events", "internal/httpserve", "internal/obs", "internal/pki", "internal/keystore", "examples/quickstart"},
	{"internal/manifest", "internal/association/boltstore", "internal/association/kubestore", "internal/issuer/accounts", "internal/issuer/observe", "internal/issuer/store"},
	{"internal/webhook", "internal/servingcert", "internal/issuer/desk", "internal/issuer/server", "internal/signer", "internal/agent/**", "internal/localaws/**", "internal/broker/**"},
	{"internal/controller/**"},
	{"internal/app/**"},
	{"cmd/**", "hack/**"},
}

// together are layers whose rooms are parts of one house.
var together = []string{"internal/agent/**", "internal/broker/**", "internal/localaws/**", "internal/app/**"}

// domain rooms import the standard library, each other, and what is listed:
// no I/O, no SDK, no Kubernetes.
var domain = map[string][]string{
	"internal/arn":           nil,
	"internal/audit":         nil,
	"internal/association":   {"k8s.io/apimachinery/"}, // its model is an API type
	"internal/callerid":      nil,
	"internal/credential":    nil,
	"internal/fault":         nil,
	"internal/glob":          nil,
	"internal/grant":         nil,
	"internal/managedpolicy": nil,
	"internal/policy":        {"golang.org/x/text/"}, // full Unicode lower case
	"internal/rawjson":       nil,
	"internal/sigv4":         {"net/http"}, // what is verified is an HTTP request
	"internal/token":         {"github.com/go-jose/go-jose/v4"},
	"internal/distribution":  nil,
	"internal/rotation":      nil,
	"internal/policycase":    {"sigs.k8s.io/json"}, // strict decoding
	"internal/trust":         nil,

	"internal/issuer/bucket":   nil,
	"internal/issuer/document": nil,
	"internal/issuer/inspect":  nil,
	"internal/issuer/plan":     {"k8s.io/apimachinery/"}, // an Issuer is an API type

	"internal/association/admission": {"k8s.io/apimachinery/"},
}

// impure are packages of the standard library that mean I/O.
var impure = []string{"net/http", "net", "os", "os/exec", "database/sql"}

// only says which rooms alone may import something, tests excepted.
var only = map[string][]string{
	"github.com/aws/aws-sdk-go-v2/": {"internal/awsapi"},
	"go.etcd.io/bbolt":              {"internal/localaws/account", "internal/association/boltstore"},
	"github.com/vishvananda/":       {"internal/agent/nodenet"},
}

// imports are the imports of one package, by path relative to the module for
// our own.
type imports map[string][]string

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, violation := range violations(readImports(t)) {
		t.Error(violation)
	}
}

// TestLayersNotices: a check that cannot fail is none.
func TestLayersNotices(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, from, to string }{
		{"domain imports a server", "internal/policy", "internal/webhook"},
		{"role imports a role", "internal/webhook", "internal/issuer/server"},
		{"emulator imports the product", "internal/localaws/sts", "internal/webhook"},
		{"server imports the root", "internal/webhook", "internal/app"},
		{"domain does I/O", "internal/policy", "net/http"},
		{"domain uses a library", "internal/policy", "github.com/spf13/cobra"},
		{"SDK outside its room", "internal/webhook", "github.com/aws/aws-sdk-go-v2/service/sts"},
		{"a database outside its rooms", "internal/webhook", "go.etcd.io/bbolt"},
		{"a room without a layer", "internal/helpers", "fmt"},
	} {
		if len(violations(imports{row.from: {row.to}})) == 0 {
			t.Errorf("%s: %s importing %s is not noticed", row.name, row.from, row.to)
		}
	}
}

func violations(all imports) []string {
	var found []string
	for from, list := range all {
		layer := layerOf(from)
		if layer < 0 {
			found = append(found, from+" is in no layer; add it to layers_test.go")
		}
		for _, to := range list {
			if why := forbidden(from, to, layer); why != "" {
				found = append(found, fmt.Sprintf("%s must not import %s: %s", from, to, why))
			}
		}
	}
	slices.Sort(found)
	return found
}

func forbidden(from, to string, layer int) string {
	for prefix, owners := range only {
		if strings.HasPrefix(to, prefix) && !slices.Contains(owners, from) {
			return "only " + strings.Join(owners, " and ") + " does"
		}
	}
	if target := layerOf(to); target >= 0 {
		switch {
		case target > layer:
			return "it is a layer further out"
		case target == layer && layer > 0 && !sameHouse(from, to):
			return "rooms of one layer do not know each other"
		}
		return ""
	}
	allowed, isDomain := domain[from]
	if !isDomain {
		return ""
	}
	isAllowed := slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(to, prefix) })
	switch {
	case isAllowed:
		return ""
	case strings.Contains(strings.Split(to, "/")[0], "."):
		return "a domain room uses the standard library only"
	case slices.Contains(impure, to):
		return "a domain room does no I/O"
	}
	return ""
}

func sameHouse(a, b string) bool {
	return slices.ContainsFunc(together, func(house string) bool { return within(a, house) && within(b, house) })
}

func layerOf(room string) int {
	return slices.IndexFunc(layers, func(rooms []string) bool {
		return slices.ContainsFunc(rooms, func(pattern string) bool { return within(room, pattern) })
	})
}

func within(room, pattern string) bool {
	base, tree := strings.CutSuffix(pattern, "/**")
	return room == base || (tree && strings.HasPrefix(room, base+"/"))
}

// readImports asks the Go toolchain; test files are not looked at.
func readImports(t *testing.T) imports {
	t.Helper()
	all := imports{}
	for _, line := range goList(t, `{{.ImportPath}} {{join .Imports " "}}`) {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], module)
		if path.Dir(fields[0])+"/" == strings.TrimSuffix(module, "rolecall/") || strings.HasPrefix(from, "test/") {
			continue // the root holds tests only, test/ stands outside
		}
		all[from] = nil
		for _, to := range fields[1:] {
			all[from] = append(all[from], strings.TrimPrefix(to, module))
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found", len(all))
	}
	return all
}

func goList(t *testing.T, format string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", format, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
