package localaws

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/sigv4"
)

// ask is one AWS call on its way: what is known of it so far.
type ask struct {
	service.Call
	// service is the room that is called; nil if nothing of the service is
	// emulated. name is the service's name then, as in the signature; empty if
	// it cannot be told.
	service  *service.Service
	name     string
	endpoint endpoint
	signed   *sigv4.Signed
	// secret is the key that the signature is made with, once that is known.
	secret credential.Secret
	// inBody says that the operation is a parameter, which may be in the body.
	inBody bool
	// read says that the body is read to its end.
	read bool
	// unsigned says why there is no signature.
	unsigned error
	// expired makes the credentials count as expired, because a test asked for it.
	expired bool
}

// maxForeignBody is the largest body of a call to a service that is not
// emulated; it is read for its signature only.
const maxForeignBody = 8 << 20

// receive finds the service by the request's head and, unless that is a
// parameter, the operation.
func (s *Server) receive(a *ask) error {
	r := a.HTTP
	a.endpoint = endpointOf(r.Host, r.URL.EscapedPath())
	a.Path = a.endpoint.path
	a.signed, a.unsigned = sigv4.Parse(r)
	a.Region = s.regionOf(a)
	a.Query = &wire.Query{}
	a.findByName(s.services)
	if a.inBody = a.looksLikeQuery(); a.inBody {
		return nil
	}
	return a.findByTarget(s.services)
}

// readParameters reads the parameters of a call, and finds its operation by
// them. Who sends more of them than any service here takes must be known first.
func (s *Server) readParameters(a *ask, answer *wire.Answer) error {
	r, limit := a.HTTP, int64(wire.MaxBody)
	if r.Method == http.MethodGet && r.ContentLength != 0 {
		return wire.Errorf(http.StatusBadRequest, "MalformedQueryString", "A GET request has no body.")
	}
	if a.isForeign() && r.ContentLength > limit {
		if err := s.identify(a); err != nil {
			return err
		}
		limit = maxForeignBody
	}
	err := a.readBody(answer.Writer, limit)
	if err != nil {
		return err
	}
	if a.Query, err = wire.ParseQuery(r, a.Body); err != nil {
		return err
	}
	return a.findByAction(s.services)
}

func (s *Server) regionOf(a *ask) string {
	switch {
	case a.signed != nil && a.signed.Region != "":
		return a.signed.Region
	case a.endpoint.region != "":
		return a.endpoint.region
	case a.endpoint.global:
		return globalRegion
	}
	return s.region
}

// readBody reads the body, unless that is done already. One that is said to be
// too large is not even begun.
func (a *ask) readBody(w http.ResponseWriter, limit int64) (err error) {
	if a.read {
		return nil
	}
	tooLarge := a.HTTP.ContentLength > limit
	if !tooLarge {
		a.Body, err = io.ReadAll(http.MaxBytesReader(w, a.HTTP.Body, limit))
		_, tooLarge = errors.AsType[*http.MaxBytesError](err)
	}
	if tooLarge {
		return wire.Errorf(
			http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request is larger than %d bytes.", limit,
		)
	}
	if err != nil {
		return wire.Errorf(http.StatusBadRequest, "IncompleteBody", "The request body was cut off.")
	}
	a.read = true
	return nil
}

// isForeign: a service of which nothing is emulated.
func (a *ask) isForeign() bool { return a.service == nil && a.name != "" }

func (a *ask) maxBody() int64 {
	operation, _ := a.operation()
	switch {
	case a.isForeign():
		return maxForeignBody
	case operation.MaxBody > 0:
		return operation.MaxBody
	}
	return wire.MaxBody
}

// findByName uses the host name, if it is that of a service we know, then the
// signature's scope. What the parameters say comes later and takes precedence.
func (a *ask) findByName(services map[string]*service.Service) {
	if found := services[a.endpoint.service]; found != nil {
		a.service, a.name, a.HostPrefix = found, found.Name, a.endpoint.prefix
		return
	}
	a.name = a.endpoint.service
	if a.signed != nil {
		a.name = a.signed.Service
	}
	a.service = services[a.name]
	if a.signed == nil && a.name == "" && a.mayBeUnsigned() {
		for _, candidate := range services {
			if candidate.Unsigned {
				a.service, a.name = candidate, candidate.Name
			}
		}
	}
	if a.service != nil && a.service.Protocol == wire.S3 && a.endpoint.local != "" && a.endpoint.service != a.name {
		a.HostPrefix = a.endpoint.local // BUCKET.localhost, as SDKs make of an endpoint at localhost
	}
}

// mayBeUnsigned: a path, and nothing that says another service.
func (a *ask) mayBeUnsigned() bool {
	_, isJSON := a.target()
	isForm := a.HTTP.Method == http.MethodPost && a.HTTP.URL.RawQuery == ""
	return a.Path != "/" && !isJSON && !isForm && !a.isCBOR()
}

// findByTarget reads the operation out of X-Amz-Target or, in REST, path and
// method.
func (a *ask) findByTarget(services map[string]*service.Service) error {
	target, isJSON := a.target()
	if isJSON {
		prefix, operation, _ := strings.Cut(target, ".")
		for _, candidate := range services {
			if candidate.Target != "" && candidate.Target == prefix && a.endpoint.service == "" {
				a.service, a.name = candidate, candidate.Name
			}
		}
		a.Operation = operation
		return nil
	}
	if rpc := rpcPath.FindStringSubmatch(a.Path); rpc != nil && a.isCBOR() {
		a.Operation = rpc[1]
		return nil
	}
	switch {
	case a.service != nil && a.service.Route != nil:
		a.Operation = a.service.Route(&a.Call)
	case a.name != "" && (a.service == nil || a.service.Protocol != wire.AWSQuery):
	case a.Path != "/":
		return wire.Errorf(
			http.StatusNotFound, "UnknownOperationException",
			"There is nothing at %s here, and no signature says which service is meant.", a.HTTP.URL.Path,
		)
	case a.HTTP.Method != http.MethodGet && a.HTTP.Method != http.MethodPost:
		return wire.Errorf(http.StatusMethodNotAllowed, "UnsupportedMethod", "Only GET and POST are supported.")
	default:
		return missingAction()
	}
	return nil
}

func missingAction() error {
	return wire.Errorf(http.StatusBadRequest, "MissingAction", "The request must contain the parameter Action.")
}

// rpcPath is that of Smithy's RPC protocols.
var rpcPath = lazyregexp.New(`^/service/[A-Za-z0-9]+/operation/([A-Za-z0-9]+)$`)

func (a *ask) isCBOR() bool { return a.HTTP.Header.Get("Smithy-Protocol") == "rpc-v2-cbor" }

func (a *ask) target() (string, bool) {
	target := a.HTTP.Header.Get("X-Amz-Target")
	return target, target != "" && a.HTTP.Method == http.MethodPost
}

// looksLikeQuery: a form, or an action in the URL, at the root.
func (a *ask) looksLikeQuery() bool {
	if _, isJSON := a.target(); isJSON || a.Path != "/" {
		return false
	}
	if a.HTTP.Method == http.MethodGet {
		return a.HTTP.URL.Query().Has("Action") || a.HTTP.ContentLength != 0
	}
	contentType, _, _ := mime.ParseMediaType(a.HTTP.Header.Get("Content-Type"))
	isQuery := a.service != nil && a.service.Protocol == wire.AWSQuery
	return a.HTTP.Method == http.MethodPost &&
		(contentType == "application/x-www-form-urlencoded" || isQuery || a.HTTP.URL.Query().Has("Action"))
}

// findByAction uses version and action: a call that names those of STS is one
// of STS, even if the signature's scope says otherwise, which is refused later.
func (a *ask) findByAction(services map[string]*service.Service) error {
	a.Operation = a.Get("Action")
	version := a.Get("Version")
	if a.Operation == "" {
		return missingAction()
	}
	for _, candidate := range services {
		_, knows := candidate.Operations[a.Operation]
		if candidate.Protocol == wire.AWSQuery && (version == candidate.Version || (version == "" && knows)) {
			a.service, a.name = candidate, candidate.Name
			return nil
		}
	}
	if a.service == nil && a.name != "" {
		return nil // another service, decided by policies
	}
	return unknownAction(a.Operation, version)
}

func unknownAction(action, version string) error {
	return wire.Errorf(
		http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", action, version,
	)
}

// operation returns the emulation of the operation that is called, if there is
// one.
func (a *ask) operation() (service.Operation, bool) {
	if a.service == nil {
		return service.Operation{}, false
	}
	operation, found := a.service.Operations[a.Operation]
	return operation, found
}

// unknown refuses names that the service does not have, before a signature is
// required.
func (a *ask) unknown() error {
	if a.service != nil && a.service.Protocol == wire.RESTJSON && a.service.Route != nil && a.Operation == "" {
		return wire.Errorf(
			http.StatusNotFound, "UnknownOperationException", "There is no operation %s %s.", a.HTTP.Method, a.Path,
		)
	}
	if a.service == nil || len(a.service.Others) == 0 || slices.Contains(a.service.Others, a.Operation) {
		return nil
	}
	if _, found := a.operation(); found {
		return nil
	}
	return unknownAction(a.Operation, a.service.Version)
}

var (
	validPrefix = lazyregexp.New(`^[a-z0-9-]{1,64}$`)
	validName   = lazyregexp.New(`^[A-Za-z0-9]{1,128}$`)
)

// prefixes are the action prefixes of services that sign with another name.
var prefixes = map[string]string{
	"monitoring":   "cloudwatch",
	"email":        "ses",
	"tagging":      "tag",
	"iotdata":      "iot",
	"awsssoportal": "sso",
}

// action returns service:Name as policies name it. For REST services without a
// model the name is not known: then it is service:*.
func (a *ask) action() string {
	prefix := a.name
	if other, found := prefixes[prefix]; found {
		prefix = other
	}
	if !validPrefix.MatchString(prefix) {
		prefix = "unknown"
	}
	if !validName.MatchString(a.Operation) {
		return prefix + ":*"
	}
	return prefix + ":" + a.Operation
}

// protocol is the service's, or a guess by the request's form.
func (a *ask) protocol() wire.Protocol {
	_, isJSON := a.target()
	switch {
	case a.service != nil:
		return a.service.Protocol
	case isJSON && strings.HasSuffix(a.HTTP.Header.Get("Content-Type"), "json-1.0"):
		return wire.JSON10
	case isJSON:
		return wire.JSON11
	case a.isCBOR():
		return wire.CBOR
	case a.Operation != "" && a.name == "ec2":
		return wire.EC2
	case a.Operation != "" || a.name == "":
		return wire.AWSQuery
	case a.name == "s3":
		return wire.S3
	case a.name == "route53" || a.name == "cloudfront":
		return wire.RESTXML
	}
	return wire.RESTJSON
}
