package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mutation is one pod on its way.
type mutation struct {
	settings   *Settings
	account    *Account
	how        delivery
	pod        *pod
	expiration int64
	tokenPath  string
	skip       []string
	region     string
	more       []envVar // after the reference's own variables
	haveVolume bool
	given      int      // containers that get the identity, or have it
	own        []string // those that have another
	edits      []edit   // containers, then init containers
	result     *Result
}

// edit is what one container gets.
type edit struct {
	list       string // containers or initContainers
	index      int
	env        []envVar
	mount      bool
	usesVolume bool
	container  *container
}

func (m *mutation) warn(format string, args ...any) {
	m.result.Warnings = append(m.result.Warnings, fmt.Sprintf(format, args...))
}

// readAnnotations reads the pod's own, which count more than its account's.
func (m *mutation) readAnnotations() {
	own, prefix := ownAnnotations(m.pod.annotations, m.settings.Prefix), m.settings.Prefix+"/"
	m.expiration = m.account.Expiration
	if text, found := own["token-expiration"]; found {
		seconds, ok := parseExpiration(text)
		if ok {
			m.expiration = max(seconds, minExpiration)
		}
		if note := wrongExpiration(prefix, text, seconds, ok, m.expiration); note != "" {
			m.warn("%s", note)
		}
	}
	if m.account.Container && m.expiration == defaultExpiration {
		m.expiration -= m.account.Jitter
	}
	m.result.Warnings = append(m.result.Warnings, slips(m.pod.annotations, m.settings, true)...)
	if text, found := own["skip-containers"]; found {
		names, err := parseSkip(text, !m.settings.Conformance)
		if err != nil {
			m.warn("annotation %sskip-containers %q cannot be read, no container is skipped: %s", prefix, text, err)
		}
		m.skip = names
		m.checkSkip(prefix)
	}
	if len(own) > 0 && !m.settings.Conformance {
		account := *m.account
		account.options.read(own, prefix, m.warn)
		m.account = &account
	}
	m.readOptions()
	m.tokenPath = m.how.tokenPath(m.pod.isWindows(m.settings.Conformance))
}

// checkSkip warns of containers to skip that there are not.
func (m *mutation) checkSkip(prefix string) {
	if m.settings.Conformance {
		return
	}
	for _, name := range m.skip {
		named := func(c container) bool { return c.name == name }
		if name != "" && !slices.ContainsFunc(m.pod.containers, named) &&
			!slices.ContainsFunc(m.pod.initContainers, named) {
			m.warn("annotation %sskip-containers names %q, and the pod has no such container", prefix, name)
		}
	}
}

func (m *mutation) readOptions() {
	options := &m.account.options
	switch {
	case options.skipRegion:
	case options.region != "":
		m.region = options.region
	default:
		m.region = m.settings.Region
	}
	if session, wanted := m.sessionVariable(); wanted {
		m.more = append(m.more, session)
	}
	m.more = append(m.more, options.environments...)
}

// checkVolume finds out whether our volume is there. A foreign volume of its
// name makes injection impossible (spec webhook row Q11).
func (m *mutation) checkVolume() bool {
	for i := range m.pod.volumes {
		v := &m.pod.volumes[i]
		if v.name != m.how.volumeName {
			continue
		}
		m.haveVolume = true
		if !m.settings.Conformance && !v.isToken(m.how.tokenFile) {
			m.warn("the pod has a volume %q that holds no service-account token; it gets no role", v.name)
			m.result.Reason = "a foreign volume has the name " + v.name
			m.result.Missed = m.result.Reason
			return false
		}
	}
	return true
}

func (m *mutation) containers() {
	m.edits = make([]edit, 0, len(m.pod.containers)+len(m.pod.initContainers))
	for i := range m.pod.containers {
		m.edits = append(m.edits, m.container("containers", i, &m.pod.containers[i]))
	}
	for i := range m.pod.initContainers {
		m.edits = append(m.edits, m.container("initContainers", i, &m.pod.initContainers[i]))
	}
}

// container is the algorithm of spec webhook §5.
func (m *mutation) container(list string, index int, c *container) edit {
	e := edit{list: list, index: index, container: c}
	if slices.Contains(m.skip, c.name) {
		return e
	}
	has := m.look(c)
	if !m.settings.Conformance {
		m.checkOwn(c)
	}
	m.note(c, has)
	if has.cred && has.region && has.sts && (m.settings.Conformance || has.ownToken) {
		return e
	}
	e.env = m.variables(c, has)
	m.mount(c, &e, has.cred)
	return e
}

// found is which variables a container has itself.
type found struct {
	cred, region, sts, ownToken bool
	first, second               bool // of the method's variables
}

// note keeps which containers get the identity, and warns of those that half have one.
func (m *mutation) note(c *container, has found) {
	switch {
	case !has.cred:
		m.given++
		return
	case has.first && has.second:
		if !has.ownToken {
			m.given++ // it was injected before, or written as it would be
			return
		}
		m.own = append(m.own, fmt.Sprintf("container %q has %s of its own", c.name, m.how.second))
	case has.first:
		m.own = append(m.own, fmt.Sprintf("container %q has only %s of its own", c.name, m.how.first))
		if !m.settings.Conformance {
			m.halfOf(c, m.how.first, m.how.second)
		}
	default:
		m.own = append(m.own, fmt.Sprintf("container %q has only %s of its own", c.name, m.how.second))
		if !m.settings.Conformance {
			m.halfOf(c, m.how.second, m.how.first)
		}
	}
}

func (m *mutation) look(c *container) found {
	var has found
	other := ""
	for i := range c.env {
		switch name := c.env[i].name; name {
		case m.how.first:
			has.cred, has.first = true, true
		case m.how.second:
			has.cred, has.second = true, true
			has.ownToken = c.env[i].value != m.tokenPath
		case m.how.others[0], m.how.others[1]:
			other = name
		case "AWS_REGION", "AWS_DEFAULT_REGION":
			has.region = true
		case "AWS_STS_REGIONAL_ENDPOINTS":
			has.sts = true
		}
	}
	// SDKs prefer web identity to the agent (spec webhook §8.4).
	if other != "" && m.account.Container && !m.settings.Conformance {
		m.warn("container %q sets %s itself; SDKs use that and not the pod's identity", c.name, other)
	}
	return has
}

// variables are added in the reference's order, ours last.
func (m *mutation) variables(c *container, has found) []envVar {
	env := make([]envVar, 0, 5+len(m.more))
	if !has.sts && m.account.RegionalSTS {
		env = append(env, envVar{Name: "AWS_STS_REGIONAL_ENDPOINTS", Value: "regional"})
	}
	if !has.region && m.region != "" {
		env = append(env, envVar{Name: "AWS_DEFAULT_REGION", Value: m.region},
			envVar{Name: "AWS_REGION", Value: m.region})
	}
	if !has.cred {
		env = append(env, envVar{Name: m.how.first, Value: m.how.firstValue},
			envVar{Name: m.how.second, Value: m.tokenPath})
	}
	for _, variable := range m.more {
		if !slices.ContainsFunc(c.env, func(e envEntry) bool { return e.name == variable.Name }) {
			env = append(env, variable)
		}
	}
	return env
}

func (m *mutation) mount(c *container, e *edit, hasCred bool) {
	e.mount = true
	for i := range c.mounts {
		name, at := c.mounts[i].name, c.mounts[i].path
		here := at == m.how.mountPath || cleanPath(at) == cleanPath(m.how.mountPath)
		switch {
		case name == m.how.volumeName:
			e.mount, e.usesVolume = false, true
			if !here && !hasCred && !m.settings.Conformance {
				m.warn("container %q mounts %q at %q; the SDK looks for the token at %q", c.name, name, at, m.tokenPath)
				m.result.Missed = fmt.Sprintf("container %q mounts the token elsewhere", c.name)
			}
		case here && !m.settings.Conformance:
			e.mount = false
			m.warn("container %q mounts %q at %q itself; the token is not mounted there", c.name, name, at)
			m.result.Missed = fmt.Sprintf("container %q mounts %q where the token belongs", c.name, name)
		}
	}
	e.usesVolume = e.usesVolume || e.mount
}

// finish makes the patch of what was found.
func (m *mutation) finish() {
	changed := slices.ContainsFunc(m.edits, func(e edit) bool { return len(e.env) > 0 || e.mount })
	used := slices.ContainsFunc(m.edits, func(e edit) bool { return e.usesVolume })
	needVolume := !m.haveVolume && (used || m.settings.Conformance)
	changed = changed || needVolume || m.settings.Conformance
	m.result.Given = m.given
	m.result.Own = strings.Join(m.own, "; ")
	if !changed {
		m.result.Reason = "every container is skipped or has its own credentials"
		return
	}
	m.result.Patch = make([]Operation, 0, 2+2*len(m.edits))
	if m.account.Container {
		m.label()
	}
	switch {
	case !needVolume:
	case m.pod.hasVolumes:
		m.add("/spec/volumes/0", m.how.volume(m.expiration))
	default:
		m.add("/spec/volumes", []tokenVolume{m.how.volume(m.expiration)})
	}
	if m.settings.Conformance {
		m.replaceLists()
	} else {
		m.surgical()
	}
	m.result.Method, m.result.Reason = m.how.method, "injected role "+m.account.Role
	if m.account.Container {
		m.result.Reason = "injected the agent's credentials"
	}
	if m.given == 0 {
		m.result.Reason = "no container gets the identity: " + m.result.Own
	}
}

// label marks the pod, as the agent's tools expect.
func (m *mutation) label() {
	label := map[string]string{identityLabel: "enabled"}
	switch {
	case !m.pod.hasMetadata && !m.settings.Conformance:
		m.add("/metadata", map[string]any{"labels": label})
	case !m.pod.hasLabels:
		m.add("/metadata/labels", label)
	case m.pod.labels[identityLabel] != "enabled" || m.settings.Conformance:
		m.add("/metadata/labels/eks.amazonaws.com~1pod-identity", "enabled")
	}
}

func (m *mutation) add(path string, value any) {
	m.result.Patch = append(m.result.Patch, Operation{"add", path, value})
}

// surgical adds only what is missing, so that nothing of a container can be
// lost (spec webhook row Q12).
func (m *mutation) surgical() {
	for i := range m.edits {
		e := &m.edits[i]
		at := "/spec/" + e.list + "/" + strconv.Itoa(e.index)
		if len(e.env) > 0 && !e.container.hasEnv {
			m.add(at+"/env", e.env)
		} else {
			for j := range e.env {
				m.add(at+"/env/-", &e.env[j])
			}
		}
		switch {
		case e.mount && !e.container.hasMounts:
			m.add(at+"/volumeMounts", []volumeMount{m.how.mount()})
		case e.mount:
			m.add(at+"/volumeMounts/-", m.how.mount())
		}
	}
}
