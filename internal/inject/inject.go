// Package inject answers what must change in a pod so that its containers take
// an IAM role: a pure function from a pod, its service account and settings to
// a JSON Patch.
//
// It knows no HTTP, informers or clock, and only the web-identity form (IRSA);
// the names and quirks are those of spec webhook.
package inject

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	// encoding/json would take "Containers" for "containers"; this is the
	// decoding that the API server itself does.
	kjson "sigs.k8s.io/json"
)

// Settings are the webhook's own, from its flags. Use Defaults.
type Settings struct {
	// Prefix of all annotations.
	Prefix string
	// Audience, Expiration (seconds), RegionalSTS are used where the service
	// account says nothing.
	Audience    string
	Expiration  int64
	RegionalSTS bool
	// MountPath is where the token's volume is mounted.
	MountPath string
	// Region is set in containers that have none; empty sets none.
	Region string
	// Conformance repeats quirks of the reference that are harmful: names in
	// skip-containers are not trimmed, foreign volumes and mount paths are not
	// noticed, whole lists are replaced (spec webhook §14).
	Conformance bool
}

// Defaults returns the settings of the reference (spec webhook §11).
func Defaults() Settings {
	return Settings{
		Prefix: "eks.amazonaws.com", Audience: "sts.amazonaws.com", Expiration: defaultExpiration,
		MountPath: "/var/run/secrets/eks.amazonaws.com/serviceaccount",
	}
}

const (
	defaultExpiration = 86400
	minExpiration     = 600
	volumeName        = "aws-iam-token"
	tokenFile         = "token"
	// SkipLabel on a pod keeps the webhook away from it.
	SkipLabel = "eks.amazonaws.com/skip-pod-identity-webhook"
)

// Operation is one operation of a JSON Patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Result is what must change.
type Result struct {
	// Patch is empty if nothing must change.
	Patch []Operation
	// Reason says why, in a few words for logs.
	Reason string
	// Warnings are for the pod's author.
	Warnings []string
}

// pod is what is looked at; everything else is not even decoded.
type pod struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		ServiceAccountName string            `json:"serviceAccountName"`
		NodeSelector       map[string]string `json:"nodeSelector"`
		OS                 *podOS            `json:"os"`
		Affinity           *affinity         `json:"affinity"`
		Volumes            *[]volume         `json:"volumes"`
		Containers         []json.RawMessage `json:"containers"`
		InitContainers     []json.RawMessage `json:"initContainers"`
	} `json:"spec"`
}

type podOS struct {
	Name string `json:"name"`
}

type volume struct {
	Name      string `json:"name"`
	Projected *struct {
		Sources []struct {
			ServiceAccountToken *struct {
				Path string `json:"path"`
			} `json:"serviceAccountToken"`
		} `json:"sources"`
	} `json:"projected"`
}

// container is what is looked at of a container.
type container struct {
	Name string `json:"name"`
	Env  *[]struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"env"`
	VolumeMounts *[]struct {
		Name      string `json:"name"`
		MountPath string `json:"mountPath"`
	} `json:"volumeMounts"`
}

// ServiceAccountName returns a pod's service account as it stands, without
// decoding the rest of it, and whether it has the skip label. An empty name
// stays empty: mirror pods have none and must not be touched (spec webhook §4).
func ServiceAccountName(podJSON []byte) (name string, skip bool, err error) {
	var p struct {
		Metadata struct {
			Labels map[string]json.RawMessage `json:"labels"`
		} `json:"metadata"`
		Spec struct {
			ServiceAccountName string `json:"serviceAccountName"`
		} `json:"spec"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(podJSON, &p); err != nil {
		return "", false, fmt.Errorf("decode pod: %w", err)
	}
	_, skip = p.Metadata.Labels[SkipLabel]
	return p.Spec.ServiceAccountName, skip, nil
}

// Pod says what must change in a pod (JSON) of the given service account.
func Pod(podJSON []byte, account Account, settings Settings) (*Result, error) {
	if account.Role == "" {
		return &Result{Reason: "the service account has no role"}, nil
	}
	var p pod
	if err := kjson.UnmarshalCaseSensitivePreserveInts(podJSON, &p); err != nil {
		return nil, fmt.Errorf("decode pod: %w", err)
	}
	if _, skip := p.Metadata.Labels[SkipLabel]; skip {
		return &Result{Reason: "the pod has the label " + SkipLabel}, nil
	}
	m := &mutation{settings: settings, account: account, pod: &p, result: &Result{}}
	m.result.Warnings = append(m.result.Warnings, account.Warnings...)
	m.readAnnotations()
	if !m.checkVolume() {
		return m.result, nil
	}
	if err := m.containers(); err != nil {
		return nil, err
	}
	m.finish()
	return m.result, nil
}

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
			if mount.Name == volumeName {
				e.mount, e.usesVolume = false, true
			} else if !m.settings.Conformance && strings.TrimSuffix(mount.MountPath, "/") == strings.TrimSuffix(m.settings.MountPath, "/") {
				e.mount = false
				m.warn("container %s mounts %q at %s itself; the token is not mounted there", c.Name, mount.Name, mount.MountPath)
			}
		}
	}
	e.usesVolume = e.usesVolume || e.mount
	return e
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
		m.result.Reason = "injected role " + m.account.Role
	case changed:
		m.surgical()
		m.result.Reason = "injected role " + m.account.Role
	default:
		m.result.Reason = "every container is skipped or has its own credentials"
	}
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
