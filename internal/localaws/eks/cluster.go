package eks

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/pki"
)

func clusterOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreateCluster":                  {Target: newClusterTarget, Do: createCluster},
		"DescribeCluster":                {Target: clusterTarget, Do: describeCluster},
		"ListClusters":                   {Target: anyCluster, Do: listClusters},
		"DeleteCluster":                  {Target: clusterTarget, Do: deleteCluster},
		"ListIdentityProviderConfigs":    {Target: clusterTarget, Do: listIdentityProviders},
		"DescribeIdentityProviderConfig": {Target: clusterTarget, Do: describeIdentityProvider},
	}
}

// Tags of CreateCluster that are ours: they say whose tokens the cluster
// accepts and which server it stands for.
const (
	IssuerTag   = "rolecall.io/issuer"
	EndpointTag = "rolecall.io/endpoint"
)

const defaultVersion = "1.34"

var (
	clusterName  = lazyregexp.New(`^[0-9A-Za-z][A-Za-z0-9\-_]*$`)
	validVersion = lazyregexp.New(`^1\.[0-9]{1,3}$`)
	modes        = []string{"API", "API_AND_CONFIG_MAP", "CONFIG_MAP"}
)

// settings are members of CreateCluster that DescribeCluster returns.
var settings = []string{
	"resourcesVpcConfig", "kubernetesNetworkConfig", "logging", "encryptionConfig", "outpostConfig", "upgradePolicy",
	"zonalShiftConfig",
	"remoteNetworkConfig", "computeConfig", "storageConfig", "deletionProtection", "controlPlaneScalingConfig",
}

type accessConfig struct {
	Mode      string `json:"authenticationMode"`
	Bootstrap *bool  `json:"bootstrapClusterCreatorAdminPermissions"`
}

type createClusterInput struct {
	Name    string            `json:"name"`
	Version string            `json:"version"`
	RoleARN string            `json:"roleArn"`
	VPC     json.RawMessage   `json:"resourcesVpcConfig"`
	Access  accessConfig      `json:"accessConfig"`
	Tags    map[string]string `json:"tags"`
	Token   string            `json:"clientRequestToken"`
}

func newClusterTarget(q *service.Call) (service.Target, error) {
	input, err := rest.Decode[createClusterInput](q)
	if err != nil {
		return service.Target{}, err
	}
	target := service.Target{
		ARN:     ClusterARN(q.Account, q.Region, input.Name),
		Context: map[string]string{},
		Lists:   map[string][]string{},
	}
	tagged(&target, input.Tags)
	if input.Access.Mode != "" {
		target.Context["eks:authenticationMode"] = input.Access.Mode
	}
	if input.Access.Bootstrap != nil {
		target.Context["eks:bootstrapClusterCreatorAdminPermissions"] = fmt.Sprint(*input.Access.Bootstrap)
	}
	return target, nil
}

func anyCluster(q *service.Call) (service.Target, error) {
	return service.Target{ARN: ClusterARN(q.Account, q.Region, "*")}, nil
}

func (i *createClusterInput) check() error {
	var v rest.Violations
	v.Text("name", i.Name, 1, 100, clusterName)
	v.Present("roleArn", i.RoleARN != "")
	v.Present("resourcesVpcConfig", len(i.VPC) > 0)
	if i.Access.Mode != "" {
		v.OneOf("accessConfig.authenticationMode", i.Access.Mode, modes...)
	}
	if err := check(v); err != nil {
		return err
	}
	if i.Version != "" && !validVersion.MatchString(i.Version) {
		return invalidParameter("unsupported Kubernetes version").With("clusterName", i.Name)
	}
	if i.Access.Bootstrap != nil && !*i.Access.Bootstrap && cmp.Or(i.Access.Mode, "CONFIG_MAP") == "CONFIG_MAP" {
		return invalidParameter(
			"bootstrapClusterCreatorAdminPermissions must be true if cluster authentication mode is set to CONFIG_MAP",
		).With("clusterName", i.Name)
	}
	return nil
}

func createCluster(q *service.Call) (any, error) {
	input, err := rest.Decode[createClusterInput](q)
	if err != nil {
		return nil, err
	}
	if err := input.check(); err != nil {
		return nil, err
	}
	tags, err := readTags(input.Tags)
	if err != nil {
		return nil, err
	}
	if err := passRole(q, input.RoleARN, "eks.amazonaws.com"); err != nil {
		return nil, err
	}
	cluster := &Cluster{
		Region:   q.Region,
		Name:     input.Name,
		Version:  input.Version,
		RoleARN:  input.RoleARN,
		Mode:     input.Access.Mode,
		Tags:     tags,
		Issuer:   input.Tags[IssuerTag],
		Endpoint: input.Tags[EndpointTag],
		Created:  q.Time.UTC(),
		Asked:    Asked{Token: input.Token, Digest: rest.Digest(q)},
	}
	given, err := rest.Decode[map[string]json.RawMessage](q)
	if err != nil {
		return nil, err
	}
	cluster.Settings = pick(*given, settings)
	if err := Complete(cluster); err != nil {
		return nil, invalidParameter("%s", err).With("clusterName", input.Name)
	}
	err = q.Account.Update(func(state account.State) error {
		earlier, err := GetCluster(state, q.Region, input.Name)
		if err == nil {
			again, err := retried(earlier.Asked, cluster.Asked, earlier.Created, q)
			if err == nil && !again {
				err = inUse("Cluster already exists with name: %s", input.Name).With("clusterName", input.Name)
			}
			cluster = earlier
			return err
		}
		if !errors.Is(err, account.ErrNotFound) {
			return err
		}
		if !admits(state, input.RoleARN, "eks.amazonaws.com") {
			return invalidParameter(
				"Role with arn: %s, could not be assumed because it does not exist or the trusted entity is not "+
					"correct",
				input.RoleARN,
			).With("clusterName", input.Name)
		}
		if input.Access.Bootstrap == nil || *input.Access.Bootstrap {
			if err := bootstrap(q, state, cluster); err != nil {
				return err
			}
		}
		return PutCluster(state, cluster)
	})
	return clusterResult(q.Account, cluster, "ACTIVE"), wrap(err, q)
}

// bootstrap makes the creator of a cluster its administrator, if access entries
// are used.
func bootstrap(q *service.Call, state account.State, cluster *Cluster) error {
	if cluster.Mode == "CONFIG_MAP" {
		return nil
	}
	who := q.Caller.Principal
	entry := &AccessEntry{
		Principal:   cmp.Or(who.RoleARN, who.ARN),
		PrincipalID: who.EntityID,
		Type:        standard,
		Created:     q.Time.UTC(),
		Modified:    q.Time.UTC(),
		Policies: []AccessPolicy{
			{
				ARN:        policyARN(q.Account, "AmazonEKSClusterAdminPolicy"),
				Scope:      "cluster",
				Associated: q.Time.UTC(),
				Modified:   q.Time.UTC(),
			},
		},
	}
	named, ok := parsePrincipal(entry.Principal)
	if !ok {
		return nil
	}
	entry.Username = named.username(standard)
	entry.ARN = named.entryARN(q, cluster.Name)
	return In(state, cluster.Region, cluster.Name).PutEntry(entry)
}

// CheckCluster says what is wrong with a cluster that was declared.
func CheckCluster(c *Cluster) error {
	var v rest.Violations
	v.Text("name", c.Name, 1, 100, clusterName)
	v.Text("region", c.Region, 1, 64, validRegion)
	v.OneOf("authenticationMode", c.Mode, modes...)
	if c.Version != "" {
		v.Text("version", c.Version, 1, 0, validVersion)
	}
	return check(v)
}

// Complete fills in what a cluster has by default.
func Complete(c *Cluster) error {
	c.Version, c.Mode = cmp.Or(c.Version, defaultVersion), cmp.Or(c.Mode, "CONFIG_MAP")
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails, says its documentation
	name := strings.ToUpper(hex.EncodeToString(id))
	c.Issuer = cmp.Or(c.Issuer, "https://oidc.eks."+c.Region+".amazonaws.com/id/"+name)
	c.Endpoint = cmp.Or(c.Endpoint, "https://"+name+".gr7."+c.Region+".eks.amazonaws.com")
	for what, text := range map[string]string{"issuer": c.Issuer, "endpoint": c.Endpoint} {
		if parsed, err := url.Parse(text); err != nil || parsed.Scheme != "https" || parsed.Host == "" {
			return fmt.Errorf("the %s %q is not an https URL", what, text)
		}
	}
	if c.CA == "" {
		authority, err := pki.NewAuthority("kubernetes", c.Created, 10*365*24*time.Hour)
		if err != nil {
			return err
		}
		c.CA = string(authority.PEM())
	}
	return nil
}

func pick(given map[string]json.RawMessage, names []string) map[string]json.RawMessage {
	picked := map[string]json.RawMessage{}
	for _, name := range names {
		if text, found := given[name]; found && string(text) != "null" {
			picked[name] = text
		}
	}
	return picked
}

func clusterResult(a *account.Account, c *Cluster, status string) any {
	shown := map[string]any{
		"logging": json.RawMessage(
			`{"clusterLogging":[{"types":["api","audit","authenticator","controllerManager","scheduler"],` +
				`"enabled":false}]}`,
		),
		"upgradePolicy": json.RawMessage(`{"supportType":"EXTENDED"}`), "deletionProtection": false,
	}
	for name, text := range c.Settings {
		shown[name] = text
	}
	shown["resourcesVpcConfig"] = withDefaults(c.Settings["resourcesVpcConfig"], map[string]any{
		"subnetIds":             []string{},
		"securityGroupIds":      []string{},
		"endpointPublicAccess":  true,
		"endpointPrivateAccess": false,
		"publicAccessCidrs":     []string{"0.0.0.0/0"},
	})
	shown["kubernetesNetworkConfig"] = withDefaults(c.Settings["kubernetesNetworkConfig"], map[string]any{
		"serviceIpv4Cidr": "10.100.0.0/16",
		"ipFamily":        "ipv4",
	})
	maps.Copy(shown, map[string]any{
		"name":                 c.Name,
		"arn":                  ClusterARN(a, c.Region, c.Name),
		"createdAt":            wire.MilliTime(c.Created),
		"version":              c.Version,
		"endpoint":             c.Endpoint,
		"roleArn":              c.RoleARN,
		"identity":             map[string]any{"oidc": map[string]string{"issuer": c.Issuer}},
		"status":               status,
		"platformVersion":      "eks.1",
		"tags":                 tagMap(c.Tags),
		"certificateAuthority": map[string]string{"data": base64.StdEncoding.EncodeToString([]byte(c.CA))},
		"accessConfig":         map[string]string{"authenticationMode": c.Mode},
		"health":               map[string]any{"issues": []string{}},
	})
	return map[string]any{"cluster": shown}
}

func withDefaults(given json.RawMessage, defaults map[string]any) map[string]any {
	_ = json.Unmarshal(given, &defaults) // what is not an object is left out
	return defaults
}

func describeCluster(q *service.Call) (any, error) {
	var cluster *Cluster
	if err := view(q, func(found *Cluster, _ InCluster) error {
		cluster = found
		return nil
	}); err != nil {
		return nil, err
	}
	return clusterResult(q.Account, cluster, "ACTIVE"), nil
}

func listClusters(q *service.Call) (any, error) {
	names := []string{}
	err := q.Account.View(func(state account.State) error {
		all, err := Clusters(state)
		for _, one := range all {
			if one.Region == q.Region {
				names = append(names, one.Name)
			}
		}
		return err
	})
	if err != nil {
		return nil, wrap(err, q)
	}
	return page(q, "clusters", names, func(name string) string { return name }, nil)
}

// page is one page of a list. More are further members of the answer.
func page[T any](q *service.Call, member string, items []T, name func(T) string, more map[string]string) (any, error) {
	slices.SortFunc(items, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	onPage, next, problem := rest.Page(q, items, name)
	if problem != "" {
		return nil, invalidParameter("%s", problem).With("clusterName", q.Segments["name"])
	}
	result := map[string]any{member: onPage}
	for name, text := range more {
		result[name] = text
	}
	if next != "" {
		result["nextToken"] = next
	}
	return result, nil
}

func deleteCluster(q *service.Call) (any, error) {
	var cluster *Cluster
	err := within(q, func(state account.State, found *Cluster, _ InCluster) error {
		cluster = found
		if string(found.Settings["deletionProtection"]) == "true" {
			return invalidRequest(
				"Cannot delete cluster %s: deletion protection is enabled.", found.Name,
			).With("clusterName", found.Name)
		}
		return dropCluster(state, found.Region, found.Name)
	})
	if err != nil {
		return nil, err
	}
	return clusterResult(q.Account, cluster, "DELETING"), nil
}

func listIdentityProviders(q *service.Call) (any, error) {
	if err := view(q, func(*Cluster, InCluster) error { return nil }); err != nil {
		return nil, err
	}
	return page(q, "identityProviderConfigs", []string{}, func(name string) string { return name }, nil)
}

// describeIdentityProvider: no cluster here has one besides its own issuer.
func describeIdentityProvider(q *service.Call) (any, error) {
	input, err := rest.Decode[struct {
		Config struct{ Type, Name string } `json:"identityProviderConfig"`
	}](q)
	if err != nil {
		return nil, err
	}
	if err := view(q, func(*Cluster, InCluster) error { return nil }); err != nil {
		return nil, err
	}
	return nil, wire.Errorf(
		http.StatusNotFound, "ResourceNotFoundException", "No identity provider config found for name: %s.",
		input.Config.Name,
	).With("clusterName", q.Segments["name"])
}
