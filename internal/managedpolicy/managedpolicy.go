// Package managedpolicy holds the AWS managed policies that clusters, nodes and
// examples name, as AWS published them in partition aws, so that decisions can
// be made without asking AWS.
//
// It does not evaluate them (package policy does), has neither all of AWS's
// policies nor their history, and fetches nothing: what it knows is as old as
// the package that Source names. Other partitions have versions of their own,
// which it does not know.
package managedpolicy

import (
	"bytes"
	_ "embed" // policies.json
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
)

// policiesJSON is written by make managed-policies from an npm package whose
// licence, MIT, is in NOTICE.
//
//go:embed policies.json
var policiesJSON []byte

// Policy is the default version of one AWS managed policy.
type Policy struct {
	// Path begins and ends with "/"; for most it is "/".
	Path string `json:"path"`
	Name string `json:"name"`
	// VersionID is v1, v2, … as iam:GetPolicy returns it in DefaultVersionId.
	VersionID string `json:"version"`
	// Created is when AWS created this version, in UTC: UpdateDate of
	// iam:GetPolicy.
	Created time.Time `json:"created"`
	// Document is the text, byte for byte as published except for white space:
	// it is indented by two spaces a level.
	Document string `json:"-"`
}

// ARN returns the policy's ARN in a partition: aws, aws-cn, …. It does not know
// whether the partition has the policy.
func (p Policy) ARN(partition string) string {
	return arn.ARN{Partition: partition, Service: "iam", Account: "aws", Resource: "policy" + p.Path + p.Name}.String()
}

// All returns the policies by ascending ARN.
func All() []Policy { return slices.Clone(load().policies) }

// Find returns the policy with an ARN of any partition, with a name, or with
// path and name as in service-role/AmazonEBSCSIDriverPolicy. Letter case
// matters, and a path that is given must be the policy's.
func Find(arnOrName string) (Policy, bool) {
	want := arnOrName
	parsed, err := arn.Parse(arnOrName)
	isARN := err == nil
	if isARN {
		rest, isPolicy := strings.CutPrefix(parsed.Resource, "policy/")
		if parsed.Service != "iam" || parsed.Region != "" || parsed.Account != "aws" || !isPolicy {
			return Policy{}, false
		}
		want = rest
	}
	policies := load().policies
	i := slices.IndexFunc(policies, func(p Policy) bool {
		return want == p.Path[1:]+p.Name || (!isARN && want == p.Name)
	})
	if i < 0 {
		return Policy{}, false
	}
	return policies[i], true
}

// Source returns the npm package and version that the policies were taken from,
// as NAME@VERSION.
func Source() string { return load().source }

type contents struct {
	source   string
	policies []Policy
}

// load reads the embedded file once. A test reads it too, so a file that cannot
// be read is a broken build.
var load = sync.OnceValue(func() contents {
	var file struct {
		Source   string `json:"source"`
		Policies []struct {
			Policy

			Document json.RawMessage `json:"document"`
		} `json:"policies"`
	}
	if err := json.Unmarshal(policiesJSON, &file); err != nil {
		panic(fmt.Sprintf("read embedded policies.json: %v", err))
	}
	read := contents{source: file.Source}
	for _, entry := range file.Policies {
		var text bytes.Buffer
		if err := json.Indent(&text, entry.Document, "", "  "); err != nil {
			panic(fmt.Sprintf("read embedded policy %s: %v", entry.Name, err))
		}
		entry.Policy.Document = text.String()
		read.policies = append(read.policies, entry.Policy)
	}
	return read
})
