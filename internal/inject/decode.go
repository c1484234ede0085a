package inject

import (
	"fmt"

	// encoding/json would take "Values" for "values"; this is the decoding
	// that the API server itself does.
	kjson "sigs.k8s.io/json"

	"github.com/rolecall/rolecall/internal/rawjson"
)

// Head is what decides whether more of a pod must be looked at.
type Head struct {
	// ServiceAccount stands as it is written. An empty name stays empty: mirror
	// pods have none and must not be touched (spec webhook §4).
	ServiceAccount string
	// Skip says that the pod has the skip label.
	Skip bool
	// Name is the pod's, or the beginning of a name to be generated.
	Name string
}

// ReadHead consumes a pod and decodes its head only.
func ReadHead(r *rawjson.Reader) (Head, error) {
	var h Head
	var generate string
	err := r.Object(func(name []byte) error {
		switch string(name) {
		case "metadata":
			return r.Object(func(name []byte) (err error) {
				switch string(name) {
				case "name":
					h.Name, err = r.String()
				case "generateName":
					generate, err = r.String()
				case "labels":
					h.Skip = false
					err = r.Object(func(name []byte) error {
						h.Skip = h.Skip || string(name) == SkipLabel
						return r.Skip()
					})
				default:
					err = r.Skip()
				}
				return err
			})
		case "spec":
			return r.Object(func(name []byte) (err error) {
				if string(name) != "serviceAccountName" {
					return r.Skip()
				}
				h.ServiceAccount, err = r.String()
				return err
			})
		}
		return r.Skip()
	})
	if err != nil {
		return Head{}, fmt.Errorf("decode pod: %w", err)
	}
	if h.Name == "" {
		h.Name = generate
	}
	return h, nil
}

// pod is what is looked at; everything else is skipped.
type pod struct {
	name                       string
	hasMetadata, hasLabels     bool
	labels, annotations        map[string]string
	skip                       bool
	nodeSelector               map[string]string
	os                         string
	affinity                   []byte
	hasVolumes                 bool
	volumes                    []volume
	containers, initContainers []container
}

type volume struct {
	name string
	raw  []byte
}

// container is what is looked at of a container.
type container struct {
	raw               []byte
	name              string
	hasEnv, hasMounts bool
	env               []envEntry
	envFrom           []envFromEntry
	mounts            []mountEntry
}

type envEntry struct{ name, value string }

// envFromEntry is a ConfigMap or Secret whose members become variables.
type envFromEntry struct{ kind, name, prefix string }

type mountEntry struct{ name, path string }

func decodePod(text []byte) (*pod, error) {
	p, r := &pod{}, rawjson.NewReader(text)
	err := r.Object(func(name []byte) error {
		switch string(name) {
		case "metadata":
			return p.readMetadata(r)
		case "spec":
			return p.readSpec(r)
		}
		return r.Skip()
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, err
	}
	_, p.skip = p.labels[SkipLabel]
	return p, nil
}

func (p *pod) readMetadata(r *rawjson.Reader) error {
	p.hasMetadata = r.Kind() == '{'
	return r.Object(func(name []byte) (err error) {
		switch string(name) {
		case "name":
			p.name, err = r.String()
		case "labels":
			p.hasLabels = r.Kind() == '{'
			p.labels, err = r.Strings()
		case "annotations":
			p.annotations, err = r.Strings()
		default:
			err = r.Skip()
		}
		return err
	})
}

func (p *pod) readSpec(r *rawjson.Reader) error {
	return r.Object(func(name []byte) (err error) {
		switch string(name) {
		case "serviceAccountName":
			_, err = r.String()
		case "nodeSelector":
			p.nodeSelector, err = r.Strings()
		case "os":
			err = r.Object(func(name []byte) (err error) {
				if string(name) != "name" {
					return r.Skip()
				}
				p.os, err = r.String()
				return err
			})
		case "affinity":
			p.affinity, err = r.Raw()
		case "volumes":
			p.hasVolumes = r.Kind() == '['
			p.volumes, err = readVolumes(r)
		case "containers":
			p.containers, err = readContainers(r, "containers")
		case "initContainers":
			p.initContainers, err = readContainers(r, "initContainers")
		default:
			err = r.Skip()
		}
		return err
	})
}

func readVolumes(r *rawjson.Reader) ([]volume, error) {
	var volumes []volume
	err := r.Array(func(int) error {
		raw, err := r.Raw()
		if err != nil {
			return err
		}
		v, inner := volume{raw: raw}, rawjson.NewReader(raw)
		err = inner.Object(func(name []byte) (err error) {
			if string(name) != "name" {
				return inner.Skip()
			}
			v.name, err = inner.String()
			return err
		})
		volumes = append(volumes, v)
		return err
	})
	return volumes, err
}

func readContainers(r *rawjson.Reader, list string) ([]container, error) {
	var containers []container
	err := r.Array(func(index int) error {
		if r.Kind() != '{' {
			return fmt.Errorf("%s[%d] is not a container", list, index)
		}
		raw, err := r.Raw()
		if err != nil {
			return err
		}
		c := container{raw: raw}
		if err := c.read(rawjson.NewReader(raw)); err != nil {
			return fmt.Errorf("%s[%d]: %w", list, index, err)
		}
		containers = append(containers, c)
		return nil
	})
	return containers, err
}

func (c *container) read(r *rawjson.Reader) error {
	return r.Object(func(name []byte) (err error) {
		switch string(name) {
		case "name":
			c.name, err = r.String()
		case "env":
			c.hasEnv, c.env = r.Kind() == '[', nil
			err = r.Array(func(int) error {
				name, value, err := readPair(r, "name", "value")
				c.env = append(c.env, envEntry{name, value})
				return err
			})
		case "envFrom":
			c.envFrom = nil
			err = r.Array(func(int) error {
				from, err := readEnvFrom(r)
				c.envFrom = append(c.envFrom, from)
				return err
			})
		case "volumeMounts":
			c.hasMounts, c.mounts = r.Kind() == '[', nil
			err = r.Array(func(int) error {
				name, path, err := readPair(r, "name", "mountPath")
				c.mounts = append(c.mounts, mountEntry{name, path})
				return err
			})
		default:
			err = r.Skip()
		}
		return err
	})
}

func readEnvFrom(r *rawjson.Reader) (from envFromEntry, err error) {
	named := func(kind string) error {
		from.kind = kind
		from.name, _, err = readPair(r, "name", "name")
		return err
	}
	err = r.Object(func(name []byte) (err error) {
		switch string(name) {
		case "configMapRef":
			return named("ConfigMap")
		case "secretRef":
			return named("Secret")
		case "prefix":
			from.prefix, err = r.String()
			return err
		}
		return r.Skip()
	})
	return from, err
}

// readPair reads two members of an object.
func readPair(r *rawjson.Reader, first, second string) (a, b string, err error) {
	err = r.Object(func(name []byte) (err error) {
		switch string(name) {
		case first:
			a, err = r.String()
		case second:
			b, err = r.String()
		default:
			err = r.Skip()
		}
		return err
	})
	return a, b, err
}

// isToken reports whether the volume holds a service-account token under a file
// name.
func (v *volume) isToken(file string) bool {
	var content struct {
		Projected *struct {
			Sources []struct {
				ServiceAccountToken *struct {
					Path string `json:"path"`
				} `json:"serviceAccountToken"`
			} `json:"sources"`
		} `json:"projected"`
	}
	if kjson.UnmarshalCaseSensitivePreserveInts(v.raw, &content) != nil || content.Projected == nil {
		return false
	}
	for _, source := range content.Projected.Sources {
		if source.ServiceAccountToken != nil && source.ServiceAccountToken.Path == file {
			return true
		}
	}
	return false
}
