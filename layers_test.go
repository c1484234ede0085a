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
	// the way, but what carried lets through; nor may they say the words that are
	// denied. Of the others only what they import themselves is looked at: who may
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

// ordinary is what modules may use that come into closed rooms: what computes, and
// how Go itself runs. Whatever else a module uses is a line of carried.
var ordinary = with(pure,
	"container/...", "context", "reflect", "runtime", "runtime/debug", "sync/atomic", "unsafe",
)

// clusters are the libraries of what follows objects of a cluster and counts.
var clusters = []string{
	"github.com/google/uuid", "github.com/prometheus/client_golang/prometheus/...", "golang.org/x/sync/...",
	"golang.org/x/time/rate",
	"k8s.io/api/...", "k8s.io/apimachinery/...", "k8s.io/client-go/...",
}

// commands are the libraries of what users type.
var commands = with(clusters,
	"github.com/rogpeppe/go-internal/diff",
	"github.com/spf13/cobra/...", "github.com/spf13/pflag", "github.com/go-logr/logr", "k8s.io/klog/v2",
	"gopkg.in/evanphx/json-patch.v4", "sigs.k8s.io/controller-runtime/...", "sigs.k8s.io/yaml",
)

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
			"internal/auditchain", "internal/build", "internal/credential", "internal/apiserverflags",
			"internal/fault",
			"internal/finding/report", "internal/glob", "internal/managedpolicy",
			"internal/policy", "internal/rawjson", "internal/rotation", "internal/startheap",
		},
	},
	{
		name: "rules", std: pure, closed: true,
		rooms: []string{
			"internal/association", "internal/callerid", "internal/grant", "internal/inject", "internal/issuer/bucket",
			"internal/limit",
			"internal/policycase", "internal/sigv4", "internal/token", "internal/yamledit",
		},
	},
	{
		name: "rules about rules", std: pure, closed: true,
		rooms: []string{
			"internal/association/admission", "internal/identify", "internal/issuer/document",
			"internal/access/...", "internal/grouprole", "internal/sessionplan", "internal/trust",
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
			"internal/kubeconfig",
			"internal/manifest",
		},
	},
	{
		name: "the world outside", std: servers,
		rooms: []string{
			"internal/agreement", "internal/awsapi", "internal/boltfile", "internal/events", "internal/follow", "internal/httpserve",
			"internal/obs", "internal/patience", "internal/pki",
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
			"internal/obs", "internal/pki", "internal/yamledit", "internal/boltfile", "internal/localaws/...",
		},
		rooms: []string{"internal/localaws/..."},
	},
	{
		name: "roles", std: servers, modules: clusters,
		rooms: []string{
			"internal/agent/...", "internal/broker/...", "internal/controller/association",
			"internal/controller/groups", "internal/controller/issuer", "internal/controller/missed", "internal/issuer/desk", "internal/issuer/server",
			"internal/servingcert", "internal/signer", "internal/webhook",
		},
	},
	{name: "how commands speak", std: []string{"..."}, modules: commands, rooms: []string{"internal/app/cli"}},
	{
		name: "what commands share", std: []string{"..."}, modules: commands,
		rooms: []string{"internal/app/flags", "internal/app/local/plane", "internal/app/policyfile", "internal/app/program"},
	},
	{
		name: "parts of the plane on this machine that are programs", std: []string{"..."}, modules: commands,
		rooms: []string{"internal/app/local/controlplane"},
	},
	{
		name: "commands, a noun each", std: []string{"..."}, modules: commands,
		rooms: []string{
			"internal/app/accesscmd", "internal/app/associationcmd", "internal/app/auditcmd", "internal/app/decidecmd",
			"internal/app/issuercmd", "internal/app/kubeconfigcmd", "internal/app/local", "internal/app/policycmd", "internal/app/serve",
			"internal/app/signercmd", "internal/app/trustcmd",
		},
	},
	{name: "what is made of what", std: []string{"..."}, modules: commands, rooms: []string{"internal/app"}},
	{name: "the program", std: []string{"context", "os", "os/signal", "syscall"}, rooms: []string{"cmd/rolecall"}},
	{name: "what tests share", std: []string{"..."}, modules: []string{"..."}, rooms: []string{"test/..."}},
	{name: "what developers' commands share", std: []string{"..."}, rooms: []string{"hack/npm"}},
	{name: "what developers run", std: []string{"..."}, modules: []string{"..."}, rooms: []string{"hack/..."}},
}

// houses are trees whose rooms may import each other. The commands are none: a noun
// knows nothing of another.
var houses = []string{"internal/access/...", "internal/agent/...", "internal/broker/...", "internal/localaws/...", "test/..."}

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
	{"internal/access/awsauth", []string{"go.yaml.in/yaml/v3"}, true, "its lists are YAML, and faults have a line"},
	{"internal/access/objects", []string{"k8s.io/apimachinery/pkg/apis/meta/v1"}, true, "it reads Kubernetes objects"},
	{"internal/build", []string{"runtime", "runtime/debug"}, true, "it reads what the toolchain recorded"},
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
	{
		"internal/association",
		[]string{"github.com/benbjohnson/immutable", "hash/maphash"},
		true,
		"a set of thousands that a change shares with the one before",
	},
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
	{
		"internal/kubeconfig",
		[]string{"go.yaml.in/yaml/v3", "syscall"},
		true, "it writes new files, and asks whose a file is",
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
	{
		"internal/boltfile",
		[]string{"go.etcd.io/bbolt", "runtime/debug"},
		false, "it opens databases, whose pages are memory that may be missing",
	},
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
	{"internal/controller/groups", []string{"sigs.k8s.io/controller-runtime/..."}, false, "it is a reconciler"},
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

// carried are the modules that come into closed rooms with one that is allowed there,
// and what each of them, that one too, uses beyond the ordinary. A room that is not
// named reaches none of it: who wants to know another room looks here what comes with it.
var carried = []struct {
	with, why string
	// brings is what of the standard library each module may use, by module.
	brings map[string][]string
	rooms  []string
}{
	{
		with: "k8s.io/apimachinery",
		why: "the kinds are Kubernetes objects, and the packages of their metadata are those of clients, too: " +
			"watches, proxies, logs",
		brings: map[string][]string{
			"k8s.io/apimachinery": {
				"crypto/tls", "go/...", "math/rand", "mime", "net", "net/http", "os", "syscall",
			},
			"github.com/fxamacker/cbor/v2":    {"math/rand"},
			"github.com/go-logr/logr":         {"log/slog"},
			"github.com/json-iterator/go":     nil,
			"github.com/modern-go/concurrent": {"io/ioutil", "log", "os"},
			"github.com/modern-go/reflect2":   nil,
			"github.com/x448/float16":         nil,
			"go.yaml.in/yaml/v2":              nil,
			"golang.org/x/net": {
				"compress/...", "crypto/rand", "crypto/tls", "io/fs", "log", "math/rand", "net", "net/http",
				"net/http/httptrace", "net/textproto", "os",
			},
			"golang.org/x/text":                    nil,
			"gopkg.in/inf.v0":                      nil,
			"k8s.io/klog/v2":                       {"flag", "log", "log/slog", "os", "os/user", "path/filepath"},
			"k8s.io/kube-openapi":                  nil,
			"k8s.io/utils":                         {"net"},
			"sigs.k8s.io/json":                     nil,
			"sigs.k8s.io/randfill":                 {"math/rand"},
			"sigs.k8s.io/structured-merge-diff/v6": nil,
		},
		rooms: []string{
			"api/v1alpha1", "internal/access/objects", "internal/association", "internal/association/admission",
			"internal/grant",
			"internal/issuer/plan", "internal/manifest", "internal/planefile", "internal/sessionplan",
		},
	},
	{
		with: "github.com/go-jose/go-jose/v4",
		why:  "it encrypts as well as it signs, and draws keys and salts for that",
		brings: map[string][]string{
			"github.com/go-jose/go-jose/v4": {
				"compress/flate", "crypto/aes", "crypto/cipher", "crypto/ed25519", "crypto/pbkdf2", "crypto/rand",
				"crypto/x509",
			},
		},
		rooms: []string{
			"internal/issuer/document", "internal/issuer/inspect", "internal/issuer/plan", "internal/keystore",
			"internal/planefile", "internal/token", "internal/trust",
		},
	},
	{
		with: "github.com/benbjohnson/immutable",
		why:  "its maps are generic over what can be ordered",
		brings: map[string][]string{
			"github.com/benbjohnson/immutable": nil,
			"golang.org/x/exp":                 nil,
		},
		rooms: []string{
			"internal/association", "internal/association/admission", "internal/manifest", "internal/planefile",
			"internal/sessionplan",
		},
	},
	{
		with:   "golang.org/x/sys",
		why:    "locks are the kernel's",
		brings: map[string][]string{"golang.org/x/sys": {"syscall"}},
		rooms:  []string{"internal/filelock", "internal/keystore"},
	},
}

// denied are names of packages that closed rooms may import, though not for these.
var denied = []struct {
	of    string
	names []string
	why   string
}{
	{
		"time",
		[]string{
			"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until",
		},
		"the time comes in as a field or parameter",
	},
	{"k8s.io/apimachinery/pkg/apis/meta/v1", []string{"Now"}, "the time comes in as a field or parameter"},
	{"time", []string{"Local", "LoadLocation"}, "the machine's time zones are files"},
	{
		"context",
		[]string{"WithDeadline", "WithDeadlineCause", "WithTimeout", "WithTimeoutCause"},
		"the caller says how long",
	},
	{
		"fmt",
		[]string{"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
		"what it says and reads comes in as a writer or reader",
	},
	{"crypto/ecdsa", []string{"GenerateKey", "Sign", "SignASN1"}, "chance comes in"},
	{"crypto/rsa", []string{"GenerateKey", "GenerateMultiPrimeKey"}, "chance comes in"},
	{"crypto/x509", []string{"SystemCertPool"}, "the machine's authorities are files"},
	{"log/slog", []string{
		"Debug", "DebugContext", "Default", "Error", "ErrorContext", "Info", "InfoContext", "Log", "LogAttrs", "New",
		"SetDefault", "Warn", "WarnContext", "With",
	}, "it logs nothing"},
	{"mime", []string{"AddExtensionType", "ExtensionsByType", "TypeByExtension"}, "the machine's types are files"},
	{"net/http", []string{
		"Client", "DefaultClient", "DefaultServeMux", "DefaultTransport", "Dir", "FileServer", "Get", "Handle",
		"HandleFunc", "Head", "ListenAndServe", "ListenAndServeTLS", "Post", "PostForm", "Serve", "ServeFile",
		"ServeTLS", "Server", "Transport",
	}, "it sends and serves nothing"},
}

// admitted are the rooms that may say what is denied.
var admitted = []struct{ room, of, name, why string }{
	{"internal/identify", "context", "WithDeadline", "its question to STS outlives the caller, not the token's time"},
	{"internal/token", "crypto/ecdsa", "GenerateKey", "it makes keys"},
	{"internal/token", "crypto/rsa", "GenerateKey", "it makes keys"},
}

func with(list []string, more ...string) []string { return append(slices.Clone(list), more...) }
