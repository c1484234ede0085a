package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"
)

// mutation is one pod on its way.
type mutation struct {
	settings   Settings
	account    Account
	pod        *pod
	expiration int64
	skip       []string
	haveVolume bool
	edits      []edit // containers, then init containers
	result     *Result
}

// edit is what one container gets.
type edit struct {
	list       string // containers or initContainers
	index      int
	env        []envVar
	mount      bool
	hasEnv     bool
	hasMounts  bool
	usesVolume bool
	raw        json.RawMessage
}

type envVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (m *mutation) readAnnotations() {
	annotations, prefix := m.pod.Metadata.Annotations, m.settings.Prefix+"/"
	m.expiration = m.account.Expiration
	if text, found := annotations[prefix+"token-expiration"]; found {
		seconds, ok := parseExpiration(text)
		if ok {
			m.expiration = seconds
		} else {
			m.warn("annotation %stoken-expiration %q is no number of seconds; %d is used", prefix, text, m.expiration)
		}
	}
	if text, found := annotations[prefix+"skip-containers"]; found {
		names, err := parseSkip(text, !m.settings.Conformance)
		if err != nil {
			m.warn("annotation %sskip-containers %q cannot be read, no container is skipped: %s", prefix, text, err)
		}
		m.skip = names
	}
}

func (m *mutation) warn(format string, args ...any) {
	m.result.Warnings = append(m.result.Warnings, fmt.Sprintf(format, args...))
}

// checkVolume finds out whether our volume is there. A foreign volume of its
// name makes injection impossible (spec webhook §14 Q11).
func (m *mutation) checkVolume() bool {
	if m.pod.Spec.Volumes == nil {
		return true
	}
	for _, v := range *m.pod.Spec.Volumes {
		if v.Name != volumeName {
			continue
		}
		m.haveVolume = true
		if !m.settings.Conformance && !v.isOurs() {
			m.warn("the pod has a volume %q that holds no service-account token; it gets no role", volumeName)
			m.result.Reason = "a foreign volume has the name " + volumeName
			return false
		}
	}
	return true
}

func (v *volume) isOurs() bool {
	if v.Projected == nil {
		return false
	}
	for _, source := range v.Projected.Sources {
		if source.ServiceAccountToken != nil && source.ServiceAccountToken.Path == tokenFile {
			return true
		}
	}
	return false
}

func (m *mutation) containers() error {
	for _, list := range []struct {
		name  string
		items []json.RawMessage
	}{{"containers", m.pod.Spec.Containers}, {"initContainers", m.pod.Spec.InitContainers}} {
		for i, raw := range list.items {
			if bytes.Equal(raw, []byte("null")) {
				return fmt.Errorf("decode pod: %s[%d] is null, want a container", list.name, i)
			}
			var c container
			if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &c); err != nil {
				return fmt.Errorf("decode pod: %s[%d]: %w", list.name, i, err)
			}
			e := m.container(&c)
			e.list, e.index, e.raw = list.name, i, raw
			m.edits = append(m.edits, e)
		}
	}
	return nil
}

// container is the algorithm of spec webhook §5.
func (m *mutation) container(c *container) edit {
	e := edit{hasEnv: c.Env != nil, hasMounts: c.VolumeMounts != nil}
	if slices.Contains(m.skip, c.Name) {
		return e
	}
	var hasCred, hasRegion, hasSTS, ownToken bool
	if c.Env != nil {
		for _, variable := range *c.Env {
			switch variable.Name {
			case "AWS_ROLE_ARN":
				hasCred = true
			case "AWS_WEB_IDENTITY_TOKEN_FILE":
				hasCred = true
				ownToken = variable.Value != m.tokenPath()
			case "AWS_REGION", "AWS_DEFAULT_REGION":
				hasRegion = true
			case "AWS_STS_REGIONAL_ENDPOINTS":
				hasSTS = true
			}
		}
	}
	if hasCred && hasRegion && hasSTS && (m.settings.Conformance || ownToken) {
		return e
	}
	if !hasSTS && m.account.RegionalSTS {
		e.env = append(e.env, envVar{"AWS_STS_REGIONAL_ENDPOINTS", "regional"})
	}
	if !hasRegion && m.settings.Region != "" {
		e.env = append(e.env, envVar{"AWS_DEFAULT_REGION", m.settings.Region}, envVar{"AWS_REGION", m.settings.Region})
	}
	if !hasCred {
		e.env = append(e.env, envVar{"AWS_ROLE_ARN", m.account.Role}, envVar{"AWS_WEB_IDENTITY_TOKEN_FILE", m.tokenPath()})
	}
	e.mount = true
	if c.VolumeMounts != nil {
		for _, mount := range *c.VolumeMounts {
			here := cleanPath(mount.MountPath) == cleanPath(m.settings.MountPath)
			switch {
			case mount.Name == volumeName:
				e.mount, e.usesVolume = false, true
				if !here && !hasCred && !m.settings.Conformance {
					m.warn("container %q mounts %q at %q; the SDK looks for the token at %q", c.Name, volumeName, mount.MountPath, m.tokenPath())
				}
			case here && !m.settings.Conformance:
				e.mount = false
				m.warn("container %q mounts %q at %q itself; the token is not mounted there", c.Name, mount.Name, mount.MountPath)
			}
		}
	}
	e.usesVolume = e.usesVolume || e.mount
	return e
}

// cleanPath makes the ways to write one path comparable, Windows' too: two mounts
// of one path make the API server refuse the pod.
func cleanPath(mountPath string) string {
	return path.Clean(strings.TrimPrefix(strings.ReplaceAll(mountPath, `\`, "/"), "C:"))
}

func (m *mutation) tokenPath() string {
	posix := path.Join(m.settings.MountPath, tokenFile)
	if m.isWindows() {
		return "C:" + strings.ReplaceAll(posix, "/", `\`)
	}
	return posix
}

type tokenVolume struct {
	Name      string `json:"name"`
	Projected struct {
		Sources []tokenSource `json:"sources"`
	} `json:"projected"`
}

type tokenSource struct {
	ServiceAccountToken struct {
		Audience          string `json:"audience,omitempty"`
		ExpirationSeconds int64  `json:"expirationSeconds"`
		Path              string `json:"path"`
	} `json:"serviceAccountToken"`
}

func (m *mutation) volume() tokenVolume {
	v := tokenVolume{Name: volumeName}
	var source tokenSource
	source.ServiceAccountToken.Audience = m.account.Audience
	source.ServiceAccountToken.ExpirationSeconds = m.expiration
	source.ServiceAccountToken.Path = tokenFile
	v.Projected.Sources = []tokenSource{source}
	return v
}

type volumeMount struct {
	Name      string `json:"name"`
	ReadOnly  bool   `json:"readOnly"`
	MountPath string `json:"mountPath"`
}

func (m *mutation) mountEntry() volumeMount {
	return volumeMount{volumeName, true, m.settings.MountPath}
}

// finish makes the patch of what was found.
func (m *mutation) finish() {
	changed := slices.ContainsFunc(m.edits, func(e edit) bool { return len(e.env) > 0 || e.mount })
	used := slices.ContainsFunc(m.edits, func(e edit) bool { return e.usesVolume })
	if !m.haveVolume && (used || m.settings.Conformance) {
		if m.pod.Spec.Volumes == nil {
			m.add("/spec/volumes", []any{m.volume()})
		} else {
			m.add("/spec/volumes/0", m.volume())
		}
		changed = true
	}
	switch {
	case m.settings.Conformance:
		m.replaceLists()
	case changed:
		m.surgical()
	default:
		m.result.Reason = "every container is skipped or has its own credentials"
		return
	}
	m.result.Method, m.result.Reason = WebIdentity, "injected role "+m.account.Role
}

func (m *mutation) add(path string, value any) {
	m.result.Patch = append(m.result.Patch, Operation{"add", path, value})
}

// surgical adds only what is missing, so that nothing of a container can be
// lost (spec webhook §14 Q12).
func (m *mutation) surgical() {
	for i := range m.edits {
		e := &m.edits[i]
		at := fmt.Sprintf("/spec/%s/%d", e.list, e.index)
		if len(e.env) > 0 && !e.hasEnv {
			m.add(at+"/env", e.env)
		} else {
			for _, variable := range e.env {
				m.add(at+"/env/-", variable)
			}
		}
		switch {
		case e.mount && !e.hasMounts:
			m.add(at+"/volumeMounts", []volumeMount{m.mountEntry()})
		case e.mount:
			m.add(at+"/volumeMounts/-", m.mountEntry())
		}
	}
}
