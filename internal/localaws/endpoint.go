package localaws

import (
	"net"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// endpoint is what a host name of AWS specifies. All parts but path may be
// empty.
type endpoint struct {
	service, region string
	// global says that it is AWS's own name for a service, with no region in it.
	global bool
	// prefix is what comes before the service's name: buckets, for S3.
	prefix string
	// path is the request's, escaped, without a host name in it.
	path string
	// local is what comes before .localhost in the host name.
	local string
}

// suffixes are the domains that follow service names. Names below localhost
// reach this machine without any DNS.
var suffixes = []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".localhost"}

var (
	regionName = lazyregexp.New(`^[a-z]+(-[a-z]+)+-[0-9]+$`)
	legacyS3   = lazyregexp.New(`^s3-([a-z]{2}(?:-[a-z]+)+-[0-9]+)$`)
)

// endpointOf reads the host name or, where a client cannot choose that, a host
// name of AWS as the first part of the path: http://127.0.0.1:4566/sts.eu-west-1.amazonaws.com
// stands for the regional endpoint of STS.
func endpointOf(host, path string) endpoint {
	if path == "" {
		path = "/"
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if e, found := parseHost(host); found {
		e.path = path
		e.local, found = strings.CutSuffix(strings.ToLower(host), ".localhost")
		if !found {
			e.local = ""
		}
		return e
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if e, ok := parseHost(first); ok {
		e.path = "/" + rest
		return e
	}
	return endpoint{path: path}
}

// parseHost reads SERVICE[.REGION] and what may surround them: sts,
// s3.eu-west-1, bucket.s3.dualstack.eu-west-1, sts-fips.us-east-1.
func parseHost(host string) (endpoint, bool) {
	name, found := cutSuffix(strings.ToLower(host))
	if !found || name == "" {
		return endpoint{}, false
	}
	var e endpoint
	labels := strings.Split(name, ".")
	if last := labels[len(labels)-1]; len(labels) > 1 && (regionName.MatchString(last) || last == "global") {
		if last != "global" {
			e.region = last
		}
		labels = labels[:len(labels)-1]
	}
	if last := len(labels) - 1; last > 0 && labels[last] == "dualstack" {
		labels = labels[:last]
	}
	last := len(labels) - 1
	e.service = strings.TrimSuffix(labels[last], "-fips")
	if legacy := legacyS3.FindStringSubmatch(e.service); legacy != nil {
		e.service, e.region = "s3", legacy[1]
	}
	e.prefix = strings.Join(labels[:last], ".")
	e.global = e.region == "" && strings.HasSuffix(strings.ToLower(host), ".amazonaws.com")
	return e, e.service != ""
}

func cutSuffix(host string) (string, bool) {
	for _, suffix := range suffixes {
		if name, found := strings.CutSuffix(host, suffix); found {
			return name, true
		}
	}
	return "", false
}
