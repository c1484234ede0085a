package rolecall_test

import "slices"

// This file says who may import whom, and what: tables only. layercheck_test.go
// reads the tree and holds it to them.
//
// A new room is one line in the layer that it belongs to. What it needs beyond
// its layer is a row of exceptions, with the reason.

// layer is a set of rooms that may import the rooms of the layers before it, and
// not each other, except within a house.
type layer struct {
	name string
	// std and modules are what its rooms may import of the standard library and of
	// others, by package; "x/..." is a tree.
	std, modules []string
	// closed rooms may reach nothing else either, whatever rooms and modules are on
	// the way. Of the others only what they import themselves is looked at: who may
	// speak to the network reaches all of it.
	closed bool
	// ours, if not nil, are the rooms of ours that it may reach.
	ours  []string
	rooms []string
}

// pure is what computes: no files, network, clock, chance, log or process.
var pure = []string{
	"bufio", "bytes", "cmp", "errors", "fmt", "hash/...", "io", "iter", "maps", "math", "math/big",
	"math/bits", "net/netip", "net/url",
	"path", "regexp", "slices", "sort", "strconv", "strings", "sync", "time", "unicode/...", "unique", "embed",
	"encoding/...",
	"crypto", "crypto/ecdsa", "crypto/elliptic", "crypto/hmac", "crypto/rsa", "crypto/sha1", "crypto/sha256",
	"crypto/sha512", "crypto/subtle",
}

// files is what reads and writes this machine's disks.
var files = with(pure, "context", "crypto/aes", "crypto/cipher", "crypto/rand", "io/fs", "os", "path/filepath")

// servers is what speaks to others. No role starts programs or reads flags.
var servers = with(files,
	"container/list", "crypto/md5", "crypto/tls", "crypto/x509/...", "log", "log/slog", "math/rand/v2", "mime",
	"net", "net/http", "reflect",
	"sync/atomic", "syscall",
)

// clusters are the libraries of what follows objects of a cluster and counts.
var clusters = []string{
	"github.com/google/uuid", "github.com/prometheus/client_golang/prometheus/...", "golang.org/x/sync/...",
	"golang.org/x/time/rate",
	"k8s.io/api/...", "k8s.io/apimachinery/...", "k8s.io/client-go/...",
}

// layers are listed from the inside out.
var layers = []layer{
	{
		name: "the language", std: pure, closed: true,
		rooms: []string{
			"internal/lazyregexp",
		},
	},
	{
		name: "names and kinds", std: pure, closed: true,
		rooms: []string{
			"api/crds", "api/v1alpha1", "examples/quickstart", "internal/arn", "internal/finding",
		},
	},
	{
		name: "words of the domain", std: pure, closed: true,
		rooms: []string{
			"internal/auditchain", "internal/credential", "internal/apiserverflags", "internal/fault",
			"internal/finding/report", "internal/glob", "internal/issuer/bucket", "internal/managedpolicy",
			"internal/policy", "internal/rawjson", "internal/rotation", "internal/startheap",
		},
	},
	{
		name: "rules", std: pure, closed: true,
		rooms: []string{
			"internal/association", "internal/callerid", "internal/grant", "internal/inject", "internal/limit",
			"internal/policycase", "internal/sigv4", "internal/token", "internal/yamledit",
		},
	},
	{
		name: "rules about rules", std: pure, closed: true,
		rooms: []string{
			"internal/association/admission", "internal/identify", "internal/issuer/document",
			"internal/sessionplan", "internal/trust",
		},
	},
	{
		name: "what rules are put together for", std: pure, closed: true,
		rooms: []string{
			"internal/issuer/inspect",
			"internal/issuer/plan",
			"internal/planefile",
		},
	},
	{name: "one file", std: files, closed: true, rooms: []string{"internal/atomicfile", "internal/filelock"}},
	{
		name: "files", std: files, closed: true,
		rooms: []string{
			"internal/keystore",
			"internal/manifest",
		},
	},
	{
		name: "the world outside", std: servers,
		rooms: []string{
			"internal/agreement", "internal/awsapi", "internal/events", "internal/follow", "internal/httpserve",
			"internal/obs", "internal/pki",
		},
	},
	{
		name: "stores", std: servers, modules: []string{"k8s.io/apimachinery/..."},
		rooms: []string{
			"internal/store/boltstore",
			"internal/store/kubestore",
		},
	},
	{
		name: "what issuers read and write", std: servers, modules: clusters,
		rooms: []string{
			"internal/issuer/observe",
			"internal/issuer/store",
		},
	},
	{name: "issuers at AWS", std: servers, rooms: []string{"internal/issuer/accounts"}},
	{
		name: "the emulator", std: servers,
		modules: []string{"github.com/google/uuid", "golang.org/x/sync/singleflight"},
		// It knows AWS's names, policies and signatures as anybody may, and nothing of
		// what the product does with them.
		ours: []string{
			"internal/arn", "internal/credential", "internal/fault", "internal/finding", "internal/lazyregexp",
			"internal/managedpolicy", "internal/policy", "internal/sigv4", "internal/token", "internal/rawjson",
			"internal/obs", "internal/pki", "internal/localaws/...",
		},
		rooms: []string{"internal/localaws/..."},
	},
	{
		name: "roles", std: servers, modules: clusters,
		rooms: []string{
			"internal/agent/...", "internal/broker/...", "internal/controller/association",
			"internal/controller/issuer", "internal/issuer/desk", "internal/issuer/server",
			"internal/servingcert", "internal/signer", "internal/webhook",
		},
	},
	{
		name: "what is made of what", std: []string{"..."}, modules: with(clusters,
			"github.com/rogpeppe/go-internal/diff",
			"github.com/spf13/cobra/...", "github.com/spf13/pflag", "github.com/go-logr/logr", "k8s.io/klog/v2",
			"gopkg.in/evanphx/json-patch.v4", "sigs.k8s.io/controller-runtime/...", "sigs.k8s.io/yaml",
		),
		rooms: []string{"internal/app/..."},
	},
	{name: "the program", std: []string{"context", "os", "os/signal", "syscall"}, rooms: []string{"cmd/rolecall"}},
	{name: "what tests share", std: []string{"..."}, modules: []string{"..."}, rooms: []string{"test/..."}},
	{name: "what developers run", std: []string{"..."}, modules: []string{"..."}, rooms: []string{"hack/..."}},
}

// houses are trees whose rooms may import each other.
var houses = []string{
	"internal/agent/...", "internal/app/...", "internal/broker/...", "internal/localaws/...", "test/...",
}

// exceptions are what a room may import beyond its layer. A sealed one stays
// inside: who imports the room does not reach it by that.
var exceptions = []struct {
	room   string
	may    []string
	sealed bool
	why    string
}{
	{"api/v1alpha1", []string{"k8s.io/apimachinery/..."}, true, "the kinds are Kubernetes objects"},
	{"internal/association", []string{"k8s.io/apimachinery/pkg/apis/meta/v1"}, true, "its model is an API type"},
	{"internal/association", []string{"context"}, true, "its Store is an interface of what does I/O"},
	{
		"internal/association/admission",
		[]string{"k8s.io/apimachinery/pkg/api/equality"},
		true, "it compares API objects",
	},
	{"internal/callerid", []string{"log/slog"}, true, "what it parses implements LogValuer, to say REDACTED"},
	{"internal/credential", []string{"log/slog"}, true, "secrets implement LogValuer, to say REDACTED"},
	{"internal/inject", []string{"sigs.k8s.io/json"}, true, "it decodes as API servers do"},
	{"internal/startheap", []string{"os", "runtime/debug"}, true, "it sets the collector of the process"},
	{"internal/limit", []string{"container/list"}, true, "what was used last is kept"},
	{"internal/limit", []string{"golang.org/x/time/rate"}, true, "the limiters that it keeps; the time comes in"},
	{
		"internal/identify",
		[]string{"context", "golang.org/x/sync/singleflight"},
		true, "it asks whom it is given to ask, once for all who wait",
	},
	{"internal/policy", []string{"golang.org/x/text/..."}, true, "full Unicode lower case"},
	{"internal/association", []string{"golang.org/x/text/..."}, true, "keys that look alike in any folding"},
	{"internal/policycase", []string{"sigs.k8s.io/json"}, true, "strict decoding"},
	{"internal/issuer/inspect", []string{"mime"}, true, "it parses media types"},
	{"internal/issuer/plan", []string{"k8s.io/apimachinery/pkg/apis/meta/v1"}, true, "an Issuer is an API type"},
	{"internal/sigv4", []string{"net/http"}, false, "what it verifies is an HTTP request"},
	{"internal/token", []string{"github.com/go-jose/go-jose/v4"}, true, "signatures of JWTs"},
	{"internal/token", []string{"crypto/rand", "crypto/x509"}, true, "it makes keys, and reads them from PEM"},
	{"internal/yamledit", []string{"go.yaml.in/yaml/v3"}, true, "it finds the place of an edit with a parser"},
	{
		"internal/filelock",
		[]string{"golang.org/x/sys/unix", "golang.org/x/sys/windows"},
		true,
		"locks are the kernel's",
	},
	{"internal/manifest", []string{"go.yaml.in/yaml/v3", "sigs.k8s.io/yaml"}, true, "it edits YAML by position"},

	{
		"internal/awsapi",
		[]string{"github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/..."},
		false, "the only room with the SDK",
	},
	{
		"internal/awsapi",
		[]string{"golang.org/x/sync/singleflight", "k8s.io/apimachinery/pkg/apis/meta/v1"},
		false, "EKS's associations are told as objects",
	},
	{"internal/planefile", []string{"go.yaml.in/yaml/v3"}, true, "the file is YAML, and its faults have a line"},
	{"internal/agreement", clusters, false, "roles agree through an object of the cluster"},
	{"internal/events", clusters, false, "Events are objects of a cluster"},
	{"internal/follow", clusters, false, "it follows objects of a cluster"},
	{"internal/httpserve", []string{"golang.org/x/time/rate"}, false, "warnings that do not fill the log"},
	{"internal/obs", []string{"github.com/prometheus/client_golang/prometheus/..."}, false, "the registry of metrics"},
	{"internal/store/boltstore", []string{"go.etcd.io/bbolt"}, false, "its file is a database"},
	{
		"internal/store/kubestore",
		[]string{"k8s.io/client-go/rest", "sigs.k8s.io/controller-runtime/pkg/client"},
		false, "its database is an API server",
	},

	{"internal/localaws/account", []string{"go.etcd.io/bbolt"}, false, "its state is a database"},
	{"internal/localaws/seed", []string{"go.yaml.in/yaml/v3"}, false, "seeds are YAML"},
	{
		"internal/localaws/sts",
		[]string{"github.com/go-jose/go-jose/v4"},
		false, "it verifies tokens as AWS does, not as the product does",
	},

	{
		"internal/agent/nodenet",
		[]string{"github.com/vishvananda/netlink", "golang.org/x/sys/unix", "runtime"},
		false, "the only room that makes network links",
	},
	{"internal/broker/door", []string{"sigs.k8s.io/yaml"}, false, "its table of keys is YAML"},
	{"internal/controller/association", []string{"sigs.k8s.io/controller-runtime/..."}, false, "it is a reconciler"},
	{"internal/controller/issuer", []string{"sigs.k8s.io/controller-runtime/..."}, false, "it is a reconciler"},
	{"internal/issuer/desk", []string{"sigs.k8s.io/yaml"}, false, "its issuer.yaml is an Issuer"},
	{
		"internal/signer",
		[]string{
			"google.golang.org/grpc/...", "google.golang.org/protobuf/...", "k8s.io/externaljwt/...",
			"golang.org/x/sys/unix",
		},
		false, "the API server asks it over gRPC on a socket",
	},
	{"internal/webhook", []string{"sigs.k8s.io/json"}, false, "it decodes as API servers do"},
}

// users are the rooms that alone may import some of ours.
var users = []struct {
	of   string
	only []string
	why  string
}{
	{
		"internal/localaws/...",
		[]string{"internal/localaws/...", "internal/app/...", "test/...", "hack/..."},
		"the product works without its emulator",
	},
	{
		"internal/awsapi",
		[]string{
			"internal/agent/...", "internal/broker/...", "internal/controller/...", "internal/issuer/accounts",
			"internal/app/...", "test/...", "hack/...",
		},
		"who serves published keys or injects sees no session",
	},
	{
		"internal/issuer/accounts",
		[]string{"internal/controller/issuer", "internal/issuer/desk", "internal/app/...", "test/..."},
		"who serves published keys or injects sees no session",
	},
	{
		"internal/app/...",
		[]string{"internal/app/...", "cmd/rolecall", "test/...", "hack/..."},
		"nothing builds on commands",
	},
}

// carried are the modules that the allowed ones bring into closed rooms.
var carried = []string{
	// of k8s.io/apimachinery
	"github.com/fxamacker/cbor/v2", "github.com/go-logr/logr", "github.com/json-iterator/go",
	"github.com/modern-go/concurrent",
	"github.com/modern-go/reflect2", "github.com/x448/float16", "go.yaml.in/yaml/v2", "golang.org/x/net",
	"golang.org/x/text",
	"gopkg.in/inf.v0", "k8s.io/klog/v2", "k8s.io/kube-openapi", "k8s.io/utils", "sigs.k8s.io/json",
	"sigs.k8s.io/randfill",
	"sigs.k8s.io/structured-merge-diff/v6",
}

func with(list []string, more ...string) []string { return append(slices.Clone(list), more...) }
