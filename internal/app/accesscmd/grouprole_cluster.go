package accesscmd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
)

// atEKS asks EKS about the cluster that is named, and refuses if it is another one than the
// kubeconfig's: the role would be for the one, and its mapping in the other. known says
// that members find it there.
func (c *groupRoleConfig) atEKS(ctx context.Context, sys cli.System, config *rest.Config) (known bool, err error) {
	facts, err := awsapi.DescribeCluster(ctx, awsapi.ClusterQuery{Name: c.wanted.Cluster, Region: c.wanted.Region})
	if err == nil {
		return true, c.isKubeconfigs(&facts, config)
	}
	ofEKS := isEKS(hostOf(config))
	answer, isAWS := errors.AsType[*awsapi.Error](err)
	switch {
	case !isAWS || answer.Code != "ResourceNotFoundException":
		fmt.Fprintf(sys.Stderr, "warning: EKS could not be asked whether cluster %s is the kubeconfig's: %v\n",
			c.wanted.Cluster, err)
		return ofEKS, nil
	case ofEKS:
		fmt.Fprintf(sys.Stderr, "warning: EKS knows no cluster %s in this region, and the kubeconfig's is one of EKS, %s: "+
			"members need its name there, and --region\n", c.wanted.Cluster, config.Host)
	}
	return false, nil
}

// isKubeconfigs compares what EKS says of the cluster with the kubeconfig. Behind a tunnel
// or a proxy the authority tells: EKS has one for each cluster.
func (c *groupRoleConfig) isKubeconfigs(facts *awsapi.Cluster, config *rest.Config) error {
	if sameServer(facts.Endpoint, config.Host) || sameAuthority(facts.CA, config) {
		return nil
	}
	return fault.New(fault.Conflict, "--cluster %s is %s, and the kubeconfig's cluster is %s", c.wanted.Cluster,
		cmp.Or(facts.Endpoint, "a cluster without an endpoint yet"), config.Host).
		Hint("choose its context with --context, or make one: rolecall kubeconfig update --name %s",
			fault.Quote(c.wanted.Cluster)).
		Hint("or give --cluster, and --region, of the kubeconfig's cluster")
}

// sameServer compares URLs of API servers.
func sameServer(a, b string) bool {
	left, right := serverOf(a), serverOf(b)
	return left != "" && left == right
}

// serverOf is a URL in the spelling that is compared, empty if it is not one.
func serverOf(text string) string {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	at, err := url.Parse(text)
	if err != nil || at.Hostname() == "" {
		return ""
	}
	host := strings.ToLower(strings.TrimSuffix(at.Hostname(), "."))
	return strings.ToLower(at.Scheme) + "://" + host + ":" + cmp.Or(at.Port(), "443") + strings.TrimRight(at.Path, "/")
}

// sameAuthority compares authorities, of which EKS has the base64.
func sameAuthority(ofEKS string, config *rest.Config) bool {
	want, err := base64.StdEncoding.DecodeString(ofEKS)
	text := config.CAData
	if len(text) == 0 && config.CAFile != "" {
		text, _ = os.ReadFile(config.CAFile) // then it is another
	}
	left, _ := pem.Decode(want)
	right, rest := pem.Decode(text)
	if err != nil || left == nil || right == nil {
		return false
	}
	more, _ := pem.Decode(rest) // a server of any of several authorities is not this one for sure
	return more == nil && bytes.Equal(left.Bytes, right.Bytes)
}

func hostOf(config *rest.Config) string {
	at, err := url.Parse(config.Host)
	if err != nil {
		return ""
	}
	return at.Hostname()
}

func isEKS(host string) bool {
	return strings.Contains(host, ".eks.") && (strings.HasSuffix(host, ".amazonaws.com") ||
		strings.HasSuffix(host, ".amazonaws.com.cn"))
}

// authorityFile is the file with the authority that members are told to use.
const authorityFile = "ca.crt"

// next is the command with which members come into the cluster, and before it that which
// writes the file that it needs, if it does.
func (c *groupRoleConfig) next(config *rest.Config, known bool) (first, command string) {
	role := fault.Quote(c.wanted.RoleARN())
	words := []string{"rolecall kubeconfig update --name", fault.Quote(c.wanted.Cluster)}
	if c.wanted.Region != "" {
		words = append(words, "--region", c.wanted.Region)
	}
	if known {
		return "", strings.Join(append(words, "--role-arn", role, "--assume-role-arn", role), " ")
	}
	words = append(words, "--server", fault.Quote(config.Host))
	if len(config.CAData) > 0 || config.CAFile != "" {
		words = append(words, "--certificate-authority", authorityFile)
		view := []string{"kubectl config view --raw --minify --flatten"}
		if c.kubeconfig != "" {
			view = append(view, "--kubeconfig", fault.Quote(c.kubeconfig))
		}
		if c.context != "" {
			view = append(view, "--context", fault.Quote(c.context))
		}
		first = strings.Join(view, " ") +
			" -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d > " + authorityFile
	}
	return first, strings.Join(append(words, "--role-arn", role), " ")
}
