// Package seed reads and writes declared accounts: users, groups, roles,
// policies, providers and clusters in a file, with which local AWS is started
// and which it can write back.
//
// It does not know the wire protocol and serves nothing.
package seed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// File is the whole file, in YAML or JSON.
type File struct {
	Accounts []Account `yaml:"accounts"`
}

// Account is what is declared of one account.
type Account struct {
	// ID is 12 digits; the default account if empty.
	ID string `yaml:"id,omitempty"`
	// Providers are OIDC providers.
	Providers []Provider `yaml:"providers,omitempty"`
	// Policies are managed policies.
	Policies         []Policy          `yaml:"policies,omitempty"`
	Groups           []Group           `yaml:"groups,omitempty"`
	Users            []User            `yaml:"users,omitempty"`
	Roles            []Role            `yaml:"roles,omitempty"`
	InstanceProfiles []InstanceProfile `yaml:"instanceProfiles,omitempty"`
	// Clusters are EKS clusters.
	Clusters []Cluster `yaml:"clusters,omitempty"`
}

// Provider is an OIDC provider.
type Provider struct {
	URL         string            `yaml:"url"`
	ClientIDs   []string          `yaml:"clientIDs,omitempty"`
	Thumbprints []string          `yaml:"thumbprints,omitempty"`
	Tags        map[string]string `yaml:"tags,omitempty"`
}

// Policy is a managed policy; its document is that of the default version.
type Policy struct {
	Name        string            `yaml:"name"`
	Path        string            `yaml:"path,omitempty"` // "/" if empty
	Description string            `yaml:"description,omitempty"`
	Document    Document          `yaml:"document"`
	Tags        map[string]string `yaml:"tags,omitempty"`
}

// Permissions are what users, groups and roles alike are given.
type Permissions struct {
	// Inline are policies by name.
	Inline map[string]Document `yaml:"inline,omitempty"`
	// Attached are ARNs of managed policies, of the account or AWS's own.
	Attached []string `yaml:"attached,omitempty"`
}

// Group is a group of users.
type Group struct {
	Name        string `yaml:"name"`
	Path        string `yaml:"path,omitempty"`
	Permissions `yaml:",inline"`
}

// User is a user.
type User struct {
	Name        string `yaml:"name"`
	Path        string `yaml:"path,omitempty"`
	Permissions `yaml:",inline"`
	// Boundary is the ARN of a managed policy.
	Boundary string `yaml:"boundary,omitempty"`
	// Groups are names.
	Groups     []string          `yaml:"groups,omitempty"`
	AccessKeys []AccessKey       `yaml:"accessKeys,omitempty"`
	Tags       map[string]string `yaml:"tags,omitempty"`
}

// AccessKey is a long-term key. The secret is in the clear: it is the file
// itself that must be kept secret.
type AccessKey struct {
	ID       string `yaml:"id"`
	Secret   string `yaml:"secret"`
	Inactive bool   `yaml:"inactive,omitempty"`
}

// Role is a role.
type Role struct {
	Name        string   `yaml:"name"`
	Path        string   `yaml:"path,omitempty"`
	Description string   `yaml:"description,omitempty"`
	Trust       Document `yaml:"trust"`
	Permissions `yaml:",inline"`
	Boundary    string `yaml:"boundary,omitempty"`
	// MaxSession is in seconds; 3600 if zero.
	MaxSession int               `yaml:"maxSession,omitempty"`
	Tags       map[string]string `yaml:"tags,omitempty"`
}

// InstanceProfile passes a role to instances.
type InstanceProfile struct {
	Name string            `yaml:"name"`
	Path string            `yaml:"path,omitempty"`
	Role string            `yaml:"role,omitempty"`
	Tags map[string]string `yaml:"tags,omitempty"`
}

// Document is a policy document: in the file its JSON text, which is kept byte
// for byte, or the same as YAML.
type Document string

// maxFile is the largest file that is read, in bytes.
const maxFile = 16 << 20

// Parse reads a file strictly. What it does not know is an error with its line.
func Parse(name string, text []byte) (*File, error) {
	if len(text) > maxFile {
		return nil, fault.New(fault.Invalid, "%s: more than %d bytes", name, maxFile)
	}
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		// JSON may be indented with tabs, YAML may not; in JSON they stand
		// nowhere else.
		text = bytes.ReplaceAll(text, []byte("\t"), []byte(" "))
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var file File
	err := decoder.Decode(&file)
	if err == nil {
		if more := decoder.Decode(&yaml.Node{}); !errors.Is(more, io.EOF) {
			err = errors.New("more than one document")
		}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the file is empty")
	}
	if err != nil {
		message := plain(err)
		if yamlName.MatchString(err.Error()) && !strings.Contains(message, "line ") {
			line, _ := yamledit.Problem(text, err)
			message = fmt.Sprintf("line %d: %s", line, message)
		}
		return nil, fault.New(fault.Invalid, "%s: %s", name, message).
			Hint("docs/reference/seed.md lists what can be declared")
	}
	return &file, nil
}

var (
	quoted   = lazyregexp.New("`[^`]*` ")
	goType   = lazyregexp.New(`in type seed\.\w+`)
	into     = lazyregexp.New(` into .*`)
	yamlName = lazyregexp.New(`^yaml: (unmarshal errors:\s*)?`)
)

// plain repeats the decoder's message without Go's terms, and without values,
// which may be secrets.
func plain(err error) string {
	var lines []string
	for line := range strings.SplitSeq(yamlName.ReplaceAllString(err.Error(), ""), "\n") {
		line = strings.TrimSpace(quoted.ReplaceAllString(line, ""))
		line = goType.ReplaceAllString(line, "here")
		line = into.ReplaceAllString(line, " here")
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

// UnmarshalYAML takes a text as it is and turns anything else into JSON.
func (d *Document) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str" {
		*d = Document(node.Value)
		return nil
	}
	var out strings.Builder
	if err := writeJSON(&out, node, 0); err != nil {
		return err
	}
	*d = Document(out.String())
	return nil
}

// maxDepth is how deep a document may be, which also ends aliases of
// themselves.
const maxDepth = 20

func writeJSON(out *strings.Builder, node *yaml.Node, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("line %d: a policy document cannot be nested this deeply", node.Line)
	}
	switch node.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		for i := 0; i < len(node.Content); i += 2 {
			separate(out, i)
			out.WriteString(jsonString(node.Content[i].Value) + ": ")
			if err := writeJSON(out, node.Content[i+1], depth+1); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range node.Content {
			separate(out, i)
			if err := writeJSON(out, item, depth+1); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	case yaml.ScalarNode:
		switch node.ShortTag() {
		case "!!int", "!!float", "!!bool", "!!null":
			out.WriteString(node.Value)
		default: // a date too: Version is a text that looks like one
			out.WriteString(jsonString(node.Value))
		}
	default:
		return fmt.Errorf("line %d: must be a policy document, in JSON or in YAML without aliases", node.Line)
	}
	return nil
}

func separate(out *strings.Builder, i int) {
	if i > 0 {
		out.WriteString(", ")
	}
}

func jsonString(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a text can always be encoded
	return strings.TrimSpace(out.String())
}
