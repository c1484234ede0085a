package accesscmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/awsauth"
	"github.com/rolecall/rolecall/internal/access/objects"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/manifest"
	"github.com/rolecall/rolecall/internal/yamledit"
)

var peerKind = schema.GroupVersionKind{Group: "iamauthenticator.k8s.aws", Version: "v1alpha1", Kind: "IAMIdentityMapping"}

// authName is that of the peer's ConfigMap.
var authName = types.NamespacedName{Namespace: "kube-system", Name: "aws-auth"}

// cluster says how the API server is reached, as kubectl's flags do.
type cluster struct{ kubeconfig, context string }

func (c *cluster) flags(cmd *cobra.Command) {
	cli.Group(cmd, "The cluster", func(f *pflag.FlagSet) {
		f.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster; KUBECONFIG or ~/.kube/config if empty")
		f.StringVar(&c.context, "context", "", "context of the kubeconfig")
	})
	cli.CompleteFiles(cmd, "kubeconfig")
}

func (c *cluster) loaded() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: c.context})
}

func (c *cluster) config() (*rest.Config, error) {
	config, err := c.loaded().ClientConfig()
	if err != nil {
		return nil, fault.New(fault.Usage, "find the cluster: %w", err).
			Hint("add --kubeconfig FILE, or read mappings from files with -f FILE")
	}
	return config, nil
}

// sources say where mappings are read, and in which order sources are asked.
type sources struct {
	cluster
	files     []string
	backends  []string
	partition string
	pin       bool
}

// peers are the values of --backend-mode, with the default.
var peers = []string{string(access.EKSConfigMap), string(access.CRD), string(access.MountedFile), string(access.DynamicFile)}

func (s *sources) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&s.files, "filename", "f", nil,
		"files or folders with mappings instead of the cluster: aws-auth, objects, an authenticator's configuration")
	cli.CompleteFiles(cmd, "filename", "yaml", "yml", "json")
	s.cluster.flags(cmd)
	cli.Group(cmd, "The authenticator", func(f *pflag.FlagSet) {
		f.StringSliceVar(&s.backends, "backend-mode", []string{string(access.EKSConfigMap), string(access.CRD)},
			"the server's --backend-mode: sources of aws-iam-authenticator in the order in which they are asked")
		f.StringVar(&s.partition, "partition", "aws", "the server's --partition")
		f.BoolVar(&s.pin, "pin-user-ids", false, "the server's --pin-user-ids")
	})
	cli.CompleteFlag(cmd, "backend-mode", peers...)
}

// collected is what the sources say now.
type collected struct {
	chain    *access.Chain
	problems []access.Problem
	// unread are sources that could not be read, and why: what is said without them may
	// not be true.
	unread []error
}

// gathered is what was found, by source.
type gathered struct {
	sources  *sources
	mappings map[access.Source][]access.Mapping
	problems map[access.Source][]access.Problem
	unread   []error

	entries []*v1alpha1.AccessEntry
	ours    []*v1alpha1.IdentityMapping
	members []*v1alpha1.GroupMapping
	theirs  []objects.PeerMapping
}

func (g *gathered) add(source access.Source, mappings []access.Mapping, problems []access.Problem) {
	g.mappings[source] = append(g.mappings[source], mappings...)
	g.problems[source] = append(g.problems[source], problems...)
}

func (g *gathered) configMap(place string, data map[string]string) {
	read := awsauth.ConfigMap(data, awsauth.Options{Source: access.EKSConfigMap, Place: place, PinUserIDs: g.sources.pin})
	g.add(access.EKSConfigMap, read.Mappings(), read.Problems())
}

func (g *gathered) done() (*collected, error) {
	for source, add := range map[access.Source]func() ([]access.Mapping, []access.Problem){
		access.AccessEntry:     func() ([]access.Mapping, []access.Problem) { return objects.AccessEntries(g.entries) },
		access.IdentityMapping: func() ([]access.Mapping, []access.Problem) { return objects.IdentityMappings(g.ours) },
		access.GroupMapping:    func() ([]access.Mapping, []access.Problem) { return objects.GroupMappings(g.members) },
		access.CRD:             func() ([]access.Mapping, []access.Problem) { return objects.Peers(g.theirs) },
	} {
		mappings, problems := add()
		g.add(source, mappings, problems)
	}
	order := []access.Source{access.AccessEntry, access.IdentityMapping}
	for _, name := range g.sources.backends {
		source := access.Source(name)
		if !slices.Contains(peers, name) {
			return nil, cli.Usage("--backend-mode %s: want %s", name, cli.Choice(peers))
		}
		if slices.Contains(order, source) {
			return nil, cli.Usage("--backend-mode names %s twice", name)
		}
		order = append(order, source)
	}
	order = append(order, access.GroupMapping)
	var (
		tables   []*access.Table
		problems []access.Problem
	)
	for _, source := range order {
		table := access.NewTable(source, g.mappings[source], g.problems[source]...)
		problems = append(problems, table.Problems()...)
		tables = append(tables, table)
	}
	return &collected{
		chain:    access.NewChain(access.Config{Partition: g.sources.partition}, tables...),
		problems: problems, unread: g.unread,
	}, nil
}

// collect reads files if there are any, else the cluster.
func (s *sources) collect(ctx context.Context) (*collected, error) {
	g := &gathered{
		sources: s, mappings: map[access.Source][]access.Mapping{}, problems: map[access.Source][]access.Problem{},
	}
	if len(s.files) > 0 {
		for _, file := range s.files {
			if err := g.readFile(file); err != nil {
				return nil, err
			}
		}
		return g.done()
	}
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	if err := g.readCluster(ctx, config); err != nil {
		return nil, err
	}
	return g.done()
}

func (g *gathered) readCluster(ctx context.Context, config *rest.Config) error {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	reader, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fault.New(fault.Unavailable, "reach the API server: %w", err)
	}
	var auth corev1.ConfigMap
	err = reader.Get(ctx, authName, &auth)
	switch {
	case err == nil:
		g.configMap("ConfigMap "+authName.String(), auth.Data)
	case apierrors.IsUnauthorized(err):
		return fault.New(fault.Denied, "the cluster does not know you: Unauthorized").
			Hint("rolecall access whoami says as whom AWS knows you").
			Hint("mappings that are in files can be read with -f FILE")
	case !apierrors.IsNotFound(err):
		g.unread = append(g.unread, fmt.Errorf("ConfigMap %s: %w", authName, err))
	}
	var (
		entries v1alpha1.AccessEntryList
		ours    v1alpha1.IdentityMappingList
		members v1alpha1.GroupMappingList
		theirs  unstructured.UnstructuredList
	)
	theirs.SetGroupVersionKind(peerKind)
	for what, list := range map[string]client.ObjectList{
		"accessentries.rolecall.io": &entries, "identitymappings.rolecall.io": &ours, "groupmappings.rolecall.io": &members,
		"iamidentitymappings." + peerKind.Group: &theirs,
	} {
		// A kind that the cluster does not have has no objects.
		if err := reader.List(ctx, list); err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
			g.unread = append(g.unread, fmt.Errorf("%s: %w", what, err))
		}
	}
	g.entries, g.ours, g.members = pointers(entries.Items), pointers(ours.Items), pointers(members.Items)
	for _, item := range theirs.Items {
		g.peer(item.Object)
	}
	slices.SortFunc(g.unread, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return nil
}

func (g *gathered) peer(content map[string]any) {
	if read, ok := objects.ReadPeer(content); ok {
		g.theirs = append(g.theirs, read)
		return
	}
	g.add(access.CRD, nil, []access.Problem{{
		Origin: access.Origin{Source: access.CRD, Place: peerKind.Kind}, Refused: true, Text: "it has no name, or fields of other types",
	}})
}

func pointers[T any](items []T) []*T {
	found := make([]*T, len(items))
	for i := range items {
		found[i] = &items[i]
	}
	return found
}

// readFile reads what is about access in a file or folder.
func (g *gathered) readFile(path string) error {
	files, err := manifest.ReadFiles(path)
	if os.IsNotExist(err) {
		return fault.New(fault.Usage, "%w", err)
	}
	if err != nil {
		return err
	}
	found := false
	for _, file := range files {
		documents, err := yamledit.Open(file.Name, file.Text)
		if err != nil {
			return err
		}
		for _, d := range documents {
			is, err := g.document(file.Name, d.Root())
			if err != nil {
				return err
			}
			found = found || is
		}
	}
	if !found {
		return fault.New(fault.Usage, "nothing in %s says who may enter a cluster", path).
			Hint("wanted are ConfigMap aws-auth, IdentityMapping, AccessEntry, GroupMapping, IAMIdentityMapping, or an " +
				"authenticator's configuration with a part server")
	}
	return nil
}

// document reads one document; a List is as many as it has items.
func (g *gathered) document(file string, root yamledit.Node) (found bool, err error) {
	kind := root.Get("kind").Scalar()
	if kind == "List" || kind == "ConfigMapList" {
		for _, item := range root.Get("items").Items() {
			is, err := g.document(file, item)
			if err != nil {
				return found, err
			}
			found = found || is
		}
		return found, nil
	}
	group, _, _ := strings.Cut(root.Get("apiVersion").Scalar(), "/")
	text, err := root.JSON()
	if err != nil {
		return false, err
	}
	at := fmt.Sprintf("%s:%d", file, root.Line())
	switch {
	case kind == "ConfigMap" && (root.Get("metadata", "name").Scalar() == authName.Name || root.Get("data", "mapRoles").Exists()):
		var auth corev1.ConfigMap
		if err := decode(at, text, &auth); err != nil {
			return false, err
		}
		g.configMap(at, auth.Data)
	case group == v1alpha1.GroupVersion.Group && kind == "AccessEntry":
		var object v1alpha1.AccessEntry
		g.entries = append(g.entries, &object)
		return true, decodeStrictly(at, text, &object)
	case group == v1alpha1.GroupVersion.Group && kind == "IdentityMapping":
		var object v1alpha1.IdentityMapping
		g.ours = append(g.ours, &object)
		return true, decodeStrictly(at, text, &object)
	case group == v1alpha1.GroupVersion.Group && kind == "GroupMapping":
		var object v1alpha1.GroupMapping
		g.members = append(g.members, &object)
		return true, decodeStrictly(at, text, &object)
	case group == peerKind.Group && kind == peerKind.Kind:
		content := map[string]any{}
		if err := decode(at, text, &content); err != nil {
			return false, err
		}
		g.peer(content)
	case kind == "" && root.Get("server").IsMap():
		read, err := awsauth.Config(text, awsauth.Options{Source: access.MountedFile, Place: file, PinUserIDs: g.sources.pin})
		if err != nil {
			return false, err
		}
		g.add(access.MountedFile, read.Mappings(), read.Problems())
		g.also(access.MountedFile)
	case kind == "" && (root.Get("mapRoles").Exists() || root.Get("mapUsers").Exists() || root.Get("mapAccounts").Exists()):
		return true, g.bare(file, root, text)
	default:
		return false, nil
	}
	return true, nil
}

// bare reads the lists alone: the data of a ConfigMap, or what a dynamic file has.
func (g *gathered) bare(file string, root yamledit.Node, text []byte) error {
	if root.Get("mapRoles").IsList() || root.Get("mapUsers").IsList() || root.Get("mapAccounts").IsList() {
		read := awsauth.Dynamic(text, awsauth.Options{Source: access.DynamicFile, Place: file, PinUserIDs: g.sources.pin})
		g.add(access.DynamicFile, read.Mappings(), read.Problems())
		g.also(access.DynamicFile)
		return nil
	}
	data := map[string]string{}
	if err := decode(file, text, &data); err != nil {
		return err
	}
	g.configMap(file, data)
	return nil
}

// also asks a source that was found in files though --backend-mode does not name it.
func (g *gathered) also(source access.Source) {
	if !slices.Contains(g.sources.backends, string(source)) {
		g.sources.backends = append(g.sources.backends, string(source))
	}
}

func decode(at string, text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fault.New(fault.Invalid, "%s: %w", at, err)
	}
	return nil
}

// decodeStrictly refuses fields that the kind does not have: what they were to say would
// be lost.
func decodeStrictly(at string, text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fault.New(fault.Invalid, "%s: %w", at, err)
	}
	return nil
}
