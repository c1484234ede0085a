// Package kubeconfig changes the kubeconfig files that people have: it puts in, or takes
// out, a cluster, the user who enters it with an IAM identity, and the context that joins
// them, and keeps everything else byte for byte (spec authenticator §10).
//
// It chooses among the files of KUBECONFIG as `aws eks update-kubeconfig` does, locks them
// as kubectl does, and replaces them in one step. It does not know clusters, AWS, or what
// a token is.
package kubeconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// Entry is one way into one cluster.
type Entry struct {
	Cluster Cluster
	User    User
	// Context is the name of the context that joins the two.
	Context string
	// Namespace is the context's; one that is there stays if empty.
	Namespace string
}

// Cluster is where an API server is, and whom to believe that it is the one.
type Cluster struct {
	Name   string
	Server string
	// CA is the base64 of a PEM bundle. Empty means the system's authorities: the member
	// is written nevertheless, as the AWS CLI does.
	CA       string
	ProxyURL string
}

// User is a name in the file, and the program that says who that is.
type User struct {
	Name string
	Exec Exec
}

// Exec is an exec credential plugin's entry.
type Exec struct {
	APIVersion string     `json:"apiVersion"         yaml:"apiVersion"`
	Args       []string   `json:"args"               yaml:"args"`
	Command    string     `json:"command"            yaml:"command"`
	Env        []Variable `json:"env,omitempty"      yaml:"env,omitempty"`
	// InteractiveMode is Never, IfAvailable or Always; version v1 requires it.
	InteractiveMode string `json:"interactiveMode,omitempty" yaml:"interactiveMode,omitempty"`
}

// Variable is an environment variable of the plugin.
type Variable struct {
	Name  string `json:"name"  yaml:"name"`
	Value string `json:"value" yaml:"value"`
}

type clusterItem struct {
	Cluster clusterBody `json:"cluster" yaml:"cluster"`
	Name    string      `json:"name"    yaml:"name"`
}

type clusterBody struct {
	CA       string `json:"certificate-authority-data" yaml:"certificate-authority-data"`
	Server   string `json:"server"                     yaml:"server"`
	ProxyURL string `json:"proxy-url,omitempty"        yaml:"proxy-url,omitempty"`
}

type contextItem struct {
	Context contextBody `json:"context" yaml:"context"`
	Name    string      `json:"name"    yaml:"name"`
}

type contextBody struct {
	Cluster   string `json:"cluster"             yaml:"cluster"`
	Namespace string `json:"namespace,omitempty" yaml:"namespace,omitempty"`
	User      string `json:"user"                yaml:"user"`
}

type userItem struct {
	Name string   `json:"name" yaml:"name"`
	User userBody `json:"user" yaml:"user"`
}

type userBody struct {
	Exec Exec `json:"exec" yaml:"exec"`
}

// whole is a new file, its keys in the order in which the AWS CLI writes them.
type whole struct {
	APIVersion     string        `yaml:"apiVersion"`
	Clusters       []clusterItem `yaml:"clusters"`
	Contexts       []contextItem `yaml:"contexts"`
	CurrentContext string        `yaml:"current-context"`
	Kind           string        `yaml:"kind"`
	Preferences    struct{}      `yaml:"preferences"`
	Users          []userItem    `yaml:"users"`
}

// The lists of a kubeconfig.
const (
	clusters = "clusters"
	contexts = "contexts"
	users    = "users"
	current  = "current-context"
)

// Text is a kubeconfig: what it says, and the bytes that say it. The zero Text is an
// empty file.
type Text struct {
	stream []*yamledit.Document
	blank  []byte // all there is, if that says nothing
}

// Parse reads a kubeconfig. Errors are fault.Invalid, with the line; they never quote
// what may be a secret.
func Parse(name string, text []byte) (*Text, error) {
	stream, err := yamledit.Open(name, text)
	if err != nil {
		return nil, err
	}
	said := slices.DeleteFunc(slices.Clone(stream), func(d *yamledit.Document) bool {
		return !d.Root().Exists() || d.Root().IsNull()
	})
	switch len(said) {
	case 0:
		return &Text{blank: text}, nil
	case 1:
	default:
		return nil, said[1].Root().Errorf("a second document: a kubeconfig is one")
	}
	read := &Text{stream: stream}
	return read, read.check()
}

// check is what the AWS CLI checks before it touches a file, and that names are there
// once where we write.
func (t *Text) check() error {
	root := t.root()
	if !root.IsMap() {
		return root.Errorf("a kubeconfig is a map with clusters, contexts and users")
	}
	if err := root.CheckKeys(); err != nil {
		return err
	}
	for _, key := range []string{"apiVersion", "kind", current} {
		if n := root.Get(key); n.Exists() && !n.IsNull() {
			if _, is := n.AsString(); !is {
				return n.Errorf("%s is to be a string", key)
			}
		}
	}
	if n := root.Get("preferences"); n.Exists() && !n.IsNull() && !n.IsMap() {
		return n.Errorf("preferences is to be a map")
	}
	for _, key := range []string{clusters, contexts, users} {
		n := root.Get(key)
		if n.Exists() && !n.IsNull() && !n.IsList() {
			return n.Errorf("%s is to be a list", key)
		}
		for _, item := range n.Items() {
			if !item.IsMap() {
				return item.Errorf("an item of %s is to be a map with a name", key)
			}
		}
	}
	return nil
}

func (t *Text) document() *yamledit.Document {
	for _, d := range t.stream {
		if d.Root().Exists() && !d.Root().IsNull() {
			return d
		}
	}
	return nil
}

func (t *Text) root() yamledit.Node {
	if d := t.document(); d != nil {
		return d.Root()
	}
	return yamledit.Node{}
}

// Bytes is the file's text.
func (t *Text) Bytes() []byte {
	if t.stream == nil {
		return t.blank
	}
	return yamledit.Join(t.stream)
}

// Has reports whether there is a cluster of that name.
func (t *Text) Has(cluster string) bool { return t.find(clusters, cluster).Exists() }

// find returns the first item of a list with that name, as kubectl and the AWS CLI do.
func (t *Text) find(list, name string) yamledit.Node {
	for _, item := range t.root().Get(list).Items() {
		if text, is := item.Get("name").AsString(); is && text == name {
			return item
		}
	}
	return yamledit.Node{}
}

// Put puts an entry in, in the place of what has its names. Of a context that is there
// its namespace and whatever else stays; of a cluster what is not about the address, the
// authority and the proxy; a user becomes the entry's as a whole. The context becomes the
// current one unless keepCurrent. laidOut is false if the layout of the file had to be
// given up for it.
func (t *Text) Put(e Entry, keepCurrent bool) (laidOut bool, err error) {
	if t.stream == nil {
		return true, t.start(e, keepCurrent)
	}
	var edits []yamledit.Edit
	edits = append(edits, t.putCluster(e.Cluster)...)
	edits = append(edits, t.putContext(e)...)
	if made := (userItem{e.User.Name, userBody{e.User.Exec}}); !says(t.find(users, e.User.Name), made) {
		edits = append(edits, t.put(users, e.User.Name, made))
	}
	if now, _ := t.root().Get(current).AsString(); !keepCurrent && now != e.Context {
		edits = append(edits, yamledit.Add(yamledit.Path{current}, e.Context))
	}
	return t.edit(edits)
}

func (t *Text) start(e Entry, keepCurrent bool) error {
	file := whole{
		APIVersion: "v1", Kind: "Config", CurrentContext: e.Context,
		Clusters: []clusterItem{{clusterBody{e.Cluster.CA, e.Cluster.Server, e.Cluster.ProxyURL}, e.Cluster.Name}},
		Contexts: []contextItem{{contextBody{e.Cluster.Name, e.Namespace, e.User.Name}, e.Context}},
		Users:    []userItem{{e.User.Name, userBody{e.User.Exec}}},
	}
	if keepCurrent {
		file.CurrentContext = ""
	}
	var out bytes.Buffer
	for line := range strings.Lines(string(t.blank)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			out.WriteString(line + "\n")
		}
	}
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(file); err != nil {
		return err
	}
	read, err := Parse("the new kubeconfig", out.Bytes())
	if err != nil {
		return err
	}
	*t = *read
	return nil
}

func (t *Text) putCluster(c Cluster) []yamledit.Edit {
	item := t.find(clusters, c.Name)
	body := item.Get("cluster")
	if !body.IsMap() {
		return []yamledit.Edit{t.put(clusters, c.Name, clusterItem{clusterBody{c.CA, c.Server, c.ProxyURL}, c.Name})}
	}
	edits := set(body, map[string]string{"certificate-authority-data": c.CA, "server": c.Server})
	if c.ProxyURL != "" {
		edits = append(edits, set(body, map[string]string{"proxy-url": c.ProxyURL})...)
	}
	// What would contradict the authority, or turn it off.
	for _, name := range []string{"certificate-authority", "insecure-skip-tls-verify"} {
		if body.Get(name).Exists() {
			edits = append(edits, yamledit.Remove(body.Path().To(name)))
		}
	}
	return edits
}

func (t *Text) putContext(e Entry) []yamledit.Edit {
	item := t.find(contexts, e.Context)
	body := item.Get("context")
	if !body.IsMap() {
		made := contextItem{contextBody{e.Cluster.Name, e.Namespace, e.User.Name}, e.Context}
		return []yamledit.Edit{t.put(contexts, e.Context, made)}
	}
	wanted := map[string]string{"cluster": e.Cluster.Name, "user": e.User.Name}
	if e.Namespace != "" {
		wanted["namespace"] = e.Namespace
	}
	return set(body, wanted)
}

// set makes members of a map say these texts.
func set(body yamledit.Node, wanted map[string]string) []yamledit.Edit {
	var edits []yamledit.Edit
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if text, is := body.Get(name).AsString(); !is || text != wanted[name] {
			edits = append(edits, yamledit.Add(body.Path().To(name), wanted[name]))
		}
	}
	return edits
}

func (t *Text) put(list, name string, item any) yamledit.Edit {
	if old := t.find(list, name); old.Exists() {
		return yamledit.Replace(old.Path(), item)
	}
	if t.root().Get(list).IsList() {
		return yamledit.Add(yamledit.Path{list, "-"}, item)
	}
	return yamledit.Add(yamledit.Path{list}, []any{item})
}

func (t *Text) edit(edits []yamledit.Edit) (laidOut bool, err error) {
	if len(edits) == 0 {
		return true, nil
	}
	err = t.document().Edit(edits...)
	if errors.Is(err, yamledit.ErrLayout) {
		return false, t.document().Rewrite(edits...)
	}
	return err == nil, err
}

// Removed is what Remove took out.
type Removed struct {
	Context       string
	Cluster, User string // empty if something else needs it
	// WasCurrent says that no context is current now.
	WasCurrent bool
}

// Remove takes a context out, with its cluster and user unless another context of the
// file has them. It is fault.NotFound if there is none of that name.
func (t *Text) Remove(context string) (removed Removed, laidOut bool, err error) {
	item := t.find(contexts, context)
	if !item.Exists() {
		return Removed{}, false, fault.New(fault.NotFound, "there is no context %q", context)
	}
	cluster, _ := item.Get("context", "cluster").AsString()
	user, _ := item.Get("context", "user").AsString()
	removed = Removed{Context: context, Cluster: cluster, User: user}
	for _, other := range t.root().Get(contexts).Items() {
		if name, _ := other.Get("name").AsString(); name == context {
			continue
		}
		if text, _ := other.Get("context", "cluster").AsString(); text == cluster {
			removed.Cluster = ""
		}
		if text, _ := other.Get("context", "user").AsString(); text == user {
			removed.User = ""
		}
	}
	edits := []yamledit.Edit{yamledit.Remove(item.Path())}
	for list, name := range map[string]*string{clusters: &removed.Cluster, users: &removed.User} {
		if *name == "" {
			continue
		}
		if old := t.find(list, *name); old.Exists() {
			edits = append(edits, yamledit.Remove(old.Path()))
		} else {
			*name = ""
		}
	}
	if now, _ := t.root().Get(current).AsString(); now == context {
		removed.WasCurrent = true
		edits = append(edits, yamledit.Add(yamledit.Path{current}, ""))
	}
	laidOut, err = t.edit(edits)
	return removed, laidOut, err
}

// Context is one context as lists show it.
type Context struct {
	Name, Cluster, Server, User, Namespace string
	Current                                bool
	// Exec is the program that says who the user is; nil if it is something else, such
	// as a certificate.
	Exec *Exec
}

// Contexts returns the contexts in the order of the file. Names that lead nowhere leave
// fields empty.
func (t *Text) Contexts() []Context {
	now, _ := t.root().Get(current).AsString()
	var found []Context
	for _, item := range t.root().Get(contexts).Items() {
		var c Context
		c.Name, _ = item.Get("name").AsString()
		c.Cluster, _ = item.Get("context", "cluster").AsString()
		c.User, _ = item.Get("context", "user").AsString()
		c.Namespace, _ = item.Get("context", "namespace").AsString()
		c.Server, _ = t.find(clusters, c.Cluster).Get("cluster", "server").AsString()
		c.Current = c.Name != "" && c.Name == now
		if exec := t.find(users, c.User).Get("user", "exec"); exec.IsMap() {
			c.Exec = &Exec{}
			c.Exec.Command, _ = exec.Get("command").AsString()
			for _, arg := range exec.Get("args").Items() {
				c.Exec.Args = append(c.Exec.Args, arg.Scalar())
			}
			for _, variable := range exec.Get("env").Items() {
				name, _ := variable.Get("name").AsString()
				c.Exec.Env = append(c.Exec.Env, Variable{name, variable.Get("value").Scalar()})
			}
		}
		found = append(found, c)
	}
	return found
}

// says reports whether a node says just what a value does.
func says(n yamledit.Node, value any) bool {
	if !n.Exists() {
		return false
	}
	there, err := n.JSON()
	if err != nil {
		return false
	}
	wanted, err := json.Marshal(value)
	return err == nil && bytes.Equal(ordered(there), ordered(wanted))
}

// ordered is a JSON text with the members of its objects in the order of their names.
func ordered(text []byte) []byte {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return text
	}
	again, err := json.Marshal(value)
	if err != nil {
		return text
	}
	return again
}

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
