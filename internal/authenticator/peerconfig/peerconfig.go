// Package peerconfig reads the configuration file of aws-iam-authenticator (spec
// authenticator §6.2): which of its keys there are, what each of them is here, and what
// the file says.
//
// It reads no lists of mappings (package access/awsauth does), opens no files, and decides
// nothing.
package peerconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/fault"
)

// Key is one that the file may have.
type Key struct {
	// Name is the key with those it is below, and dots: "server.stateDir". Letter case does
	// not count.
	Name string
	// Flag is the flag that says the same; empty if there is none.
	Flag string
	// Ignored is why it has no effect; empty if it has.
	Ignored string
}

// Keys are all.
var Keys = []Key{
	{Name: "clusterID", Flag: "cluster-id"},
	{Name: "defaultRole", Ignored: "a server assumes no role for its callers; aws-iam-authenticator does not read it either"},
	{Name: "log-format", Flag: "log-format"},
	{Name: "log-verbosity", Flag: "log-verbosity"},
	{Name: "feature-gates", Flag: "feature-gates"},
	{Name: "server.partition", Flag: "partition"},
	{Name: "server.address", Flag: "address"},
	{Name: "server.port", Flag: "port"},
	{Name: "server.hostname", Flag: "hostname"},
	{Name: "server.stateDir", Flag: "state-dir"},
	{Name: "server.generateKubeconfig", Flag: "generate-kubeconfig"},
	{Name: "server.kubeconfigPregenerated", Flag: "kubeconfig-pregenerated"},
	{Name: "server.kubeconfig", Flag: "kubeconfig"},
	{Name: "server.master", Flag: "master"},
	{Name: "server.backendMode", Flag: "backend-mode"},
	{Name: "server.ec2DescribeInstancesQps", Flag: "ec2-describeInstances-qps"},
	{Name: "server.ec2DescribeInstancesBurst", Flag: "ec2-describeInstances-burst"},
	{Name: keyRoleARN},
	{Name: keySourceARN},
	{Name: keyScrubbed},
	{Name: keyRoles},
	{Name: keyUsers},
	{Name: keyAccounts},
	{Name: keyDynamic},
	{Name: keyStrict},
	{Name: keyModes},
	{Name: keyReserved},
}

// Keys without a flag.
const (
	keyRoleARN   = "server.ec2DescribeInstancesRoleARN"
	keySourceARN = "server.sourceARN"
	keyScrubbed  = "server.scrubbedAccounts"
	keyRoles     = "server.mapRoles"
	keyUsers     = "server.mapUsers"
	keyAccounts  = "server.mapAccounts"
	keyDynamic   = "server.dynamicfilepath"
	keyStrict    = "server.dynamicfileUserIDStrict"
	keyModes     = "server.dynamicBackendModePath"
	keyReserved  = "server.reservedPrefixConfig"
)

// Setting is what a key with a flag says, as the flag takes it.
type Setting struct {
	Key, Flag, Value string
	Line             int
}

// Config is what a file says.
type Config struct {
	Settings []Setting
	// EC2Role and EC2Source are for the calls of EC2.
	EC2Role, EC2Source string
	Scrubbed           []string
	// Lists says whether the file has any of the lists of mappings.
	Lists bool
	// DynamicFile is a file of mappings that another program writes; with DynamicStrict its
	// mappings are of unique ids. BackendModeFile says at run time which sources count.
	DynamicFile     string
	DynamicStrict   bool
	BackendModeFile string
	// ReservedUsernames and ReservedGroups are prefixes, by source.
	ReservedUsernames, ReservedGroups map[access.Source][]string
	// Notes are keys without effect.
	Notes []Note
}

// Note is about a key that has no effect.
type Note struct {
	Key  string
	Line int
	Text string
}

// Parse reads a file. Errors have the line. Keys that nobody knows are notes: the peer
// passes over them, and a file that it takes is taken.
func Parse(text []byte) (*Config, error) {
	c := &Config{ReservedUsernames: map[access.Source][]string{}, ReservedGroups: map[access.Source][]string{}}
	var document yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		return nil, fault.New(fault.Invalid, "it is not YAML: %w", err)
	}
	root := resolve(&document)
	if root.Kind == yaml.DocumentNode && len(root.Content) > 0 {
		root = resolve(root.Content[0])
	}
	if isNull(root) {
		return c, nil
	}
	if err := c.section(root, ""); err != nil {
		return nil, err
	}
	return c, nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" || n.Kind == 0 }

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func wrong(n *yaml.Node, format string, args ...any) error {
	return fault.New(fault.Invalid, "line %d: %s", n.Line, fmt.Sprintf(format, args...))
}

// section reads a mapping of keys below a prefix.
func (c *Config) section(n *yaml.Node, prefix string) error {
	if n.Kind != yaml.MappingNode {
		return wrong(n, "%s", strings.TrimPrefix(strings.TrimSuffix(prefix, ".")+": want keys and values", ": "))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolve(n.Content[i+1])
		full := prefix + name.Value
		if folded := strings.ToLower(name.Value); seen[folded] {
			return wrong(name, "%s is there twice", full)
		} else { //nolint:revive // the name is of this one
			seen[folded] = true
		}
		if strings.EqualFold(full, "server") {
			if !isNull(value) {
				if err := c.section(value, "server."); err != nil {
					return err
				}
			}
			continue
		}
		if err := c.key(full, name.Line, value); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) key(full string, line int, value *yaml.Node) error {
	at := slices.IndexFunc(Keys, func(k Key) bool { return strings.EqualFold(k.Name, full) })
	if at < 0 {
		text := "nobody reads it"
		if near := nearest(full); near != "" {
			text += "; did you mean " + near + "?"
		}
		c.Notes = append(c.Notes, Note{full, line, text})
		return nil
	}
	key := Keys[at]
	switch {
	case isNull(value):
		return nil
	case key.Ignored != "":
		c.Notes = append(c.Notes, Note{key.Name, line, key.Ignored})
		return nil
	case key.Flag != "":
		text, err := flagValue(key.Name, value)
		c.Settings = append(c.Settings, Setting{key.Name, key.Flag, text, line})
		return err
	}
	return c.own(key.Name, value)
}

// flagValue is a value as its flag takes it: lists and maps with commas.
func flagValue(key string, n *yaml.Node) (string, error) {
	switch n.Kind { //nolint:exhaustive // no other holds anything
	case yaml.ScalarNode:
		if strings.EqualFold(key, "server.backendMode") {
			return strings.Join(strings.FieldsFunc(n.Value, func(r rune) bool { return r == ',' || r == ' ' }), ","), nil
		}
		return n.Value, nil
	case yaml.SequenceNode:
		list, err := texts(key, n)
		return strings.Join(list, ","), err
	case yaml.MappingNode:
		var all []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			all = append(all, n.Content[i].Value+"="+resolve(n.Content[i+1]).Value)
		}
		return strings.Join(all, ","), nil
	}
	return "", wrong(n, "%s: want one value", key)
}

func texts(key string, n *yaml.Node) ([]string, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, wrong(n, "%s: want a list", key)
	}
	all := make([]string, 0, len(n.Content))
	for _, one := range n.Content {
		one = resolve(one)
		if one.Kind != yaml.ScalarNode || isNull(one) {
			return nil, wrong(one, "%s: want a list of texts", key)
		}
		all = append(all, one.Value) // as it is written: an account keeps its zeros
	}
	return all, nil
}

func (c *Config) own(key string, n *yaml.Node) (err error) {
	into := map[string]*string{
		keyRoleARN: &c.EC2Role, keySourceARN: &c.EC2Source, keyDynamic: &c.DynamicFile, keyModes: &c.BackendModeFile,
	}[key]
	switch {
	case into != nil:
		if n.Kind != yaml.ScalarNode {
			return wrong(n, "%s: want one text", key)
		}
		*into = n.Value
	case key == keyScrubbed:
		c.Scrubbed, err = texts(key, n)
	case key == keyStrict:
		if c.DynamicStrict, err = strconv.ParseBool(n.Value); err != nil {
			return wrong(n, "%s: want true or false", key)
		}
	case key == keyReserved:
		return c.reserved(n)
	default:
		c.Lists = true
	}
	return err
}

// reserved reads what names the sources must not give.
func (c *Config) reserved(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return wrong(n, "%s: want a list", keyReserved)
	}
	for _, one := range n.Content {
		one = resolve(one)
		if one.Kind != yaml.MappingNode {
			return wrong(one, "%s: want backendMode and usernamePrefixReserveList", keyReserved)
		}
		var source access.Source
		lists := map[string][]string{}
		for i := 0; i+1 < len(one.Content); i += 2 {
			name, value := one.Content[i], resolve(one.Content[i+1])
			switch folded := strings.ToLower(name.Value); folded {
			case "backendmode":
				all, err := ParseBackends([]string{value.Value})
				if err != nil {
					return wrong(value, "%s: %v", keyReserved, err)
				}
				source = all[0]
			case "usernameprefixreservelist", "groupprefixreservelist":
				list, err := texts(keyReserved+"."+name.Value, value)
				if err != nil {
					return err
				}
				lists[folded] = list
			default:
				c.Notes = append(c.Notes, Note{keyReserved + "." + name.Value, name.Line, "nobody reads it"})
			}
		}
		if source == "" {
			return wrong(one, "%s: backendMode is missing", keyReserved)
		}
		c.ReservedUsernames[source] = append(c.ReservedUsernames[source], lists["usernameprefixreservelist"]...)
		c.ReservedGroups[source] = append(c.ReservedGroups[source], lists["groupprefixreservelist"]...)
	}
	return nil
}

// backends are the peer's names of sources, and those that it no longer uses.
var backends = map[string]access.Source{
	"MountedFile": access.MountedFile, "File": access.MountedFile,
	"EKSConfigMap": access.EKSConfigMap, "ConfigMap": access.EKSConfigMap,
	"CRD": access.CRD, "DynamicFile": access.DynamicFile,
}

// ParseBackends reads what --backend-mode says: sources of the peer, each once.
func ParseBackends(names []string) ([]access.Source, error) {
	var all []access.Source
	for _, name := range names {
		source, known := backends[strings.TrimSpace(name)]
		switch {
		case !known:
			return nil, fault.New(fault.Usage, "backend mode %q is not known", name).
				Hint("want MountedFile, EKSConfigMap, CRD or DynamicFile, in the order in which they count")
		case slices.Contains(all, source):
			return nil, fault.New(fault.Usage, "backend mode %s is there twice", source)
		}
		all = append(all, source)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Usage, "no backend mode is given").
			Hint("want MountedFile, EKSConfigMap, CRD or DynamicFile, in the order in which they count")
	}
	return all, nil
}

// nearest is a key that somebody may have meant.
func nearest(name string) string {
	best, least := "", 3
	for _, key := range Keys {
		if d := distance(strings.ToLower(name), strings.ToLower(key.Name)); d < least {
			best, least = key.Name, d
		}
		if _, last, below := strings.Cut(key.Name, "."); below && strings.EqualFold(last, name) {
			return key.Name
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
