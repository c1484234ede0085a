package inject

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/rawjson"
)

// roleAnnotation is what says the role, after the prefix.
const roleAnnotation = "role-arn"

// LooksLikeRole reports whether an annotation is meant to say a role, whatever it is
// called: by its value, or by a name that is nearly the right one.
func LooksLikeRole(key, value string) bool {
	if strings.Contains(value, ":role/") && arn.IsRole(strings.TrimSpace(value)) {
		return true
	}
	name := key[strings.LastIndexByte(key, '/')+1:]
	switch plain(name) {
	case "rolearn", "iamrolearn", "awsrolearn", "eksrolearn":
		return true
	}
	return strings.HasSuffix(plain(key), "amazonawscomrolearn")
}

// plain is a name without what people mix up.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "", "/", "").Replace(name))
}

// unreadRoles names annotations that are meant to say a role and are not the one that
// does.
func unreadRoles(annotations map[string]string, prefix string) (unread []string) {
	right := prefix + "/" + roleAnnotation
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if key != right && LooksLikeRole(key, annotations[key]) {
			unread = append(
				unread, fmt.Sprintf("annotation %.253s is not read; a service account's role is %s", key, right),
			)
		}
	}
	return unread
}

// Unread says which annotations of a pod without an identity, or of its account, were
// meant to give it one. Nil is an account that does not exist.
func Unread(podJSON []byte, account *Account, settings Settings) (warnings []string) {
	if account != nil {
		warnings = append(warnings, account.unread...)
	}
	// Nearly all pods have none, and are not looked at any further.
	if !mentionsRole(podJSON) {
		return warnings
	}
	var p pod
	r := rawjson.NewReader(podJSON)
	err := r.Object(func(name []byte) error {
		if string(name) == "metadata" {
			return p.readMetadata(r)
		}
		return r.Skip()
	})
	if err != nil {
		return warnings // what is no pod is refused elsewhere
	}
	if _, skip := p.labels[SkipLabel]; skip {
		return warnings
	}
	return append(warnings, unreadOfPod(p.annotations, "", settings.Prefix)...)
}

// mentionsRole reports whether a text may have what LooksLikeRole looks for.
func mentionsRole(text []byte) bool {
	if bytes.Contains(text, []byte(":role/")) {
		return true
	}
	for i := 0; i+len("rolearn") <= len(text); i++ {
		if text[i]|0x20 != 'r' || !bytes.EqualFold(text[i:i+len("role")], []byte("role")) {
			continue
		}
		rest := text[i+len("role"):]
		if bytes.IndexByte([]byte("-_./"), rest[0]) >= 0 {
			rest = rest[1:]
		}
		if len(rest) >= len("arn") && bytes.EqualFold(rest[:len("arn")], []byte("arn")) {
			return true
		}
	}
	return false
}

// unreadOfPod is about the annotations of a pod whose account has a role, or none.
func unreadOfPod(annotations map[string]string, role, prefix string) (unread []string) {
	right := prefix + "/" + roleAnnotation
	if text, found := annotations[right]; found && (text != role || role == "") {
		unread = append(
			unread, fmt.Sprintf("annotation %s of a pod is not read; it belongs on the service account", right),
		)
	}
	if role != "" {
		return unread
	}
	return append(unread, unreadRoles(annotations, prefix)...)
}

// ofItsOwn are variables by which SDKs find credentials before, or instead of, those of
// the pod's identity, and what they do then.
var ofItsOwn = []struct{ name, then string }{
	{"AWS_ACCESS_KEY_ID", "SDKs use these keys and not the pod's identity"},
	{"AWS_SECRET_ACCESS_KEY", "SDKs use these keys and not the pod's identity"},
	{"AWS_PROFILE", "SDKs may use that profile and not the pod's identity"},
	{"AWS_DEFAULT_PROFILE", "SDKs may use that profile and not the pod's identity"},
	{"AWS_CONFIG_FILE", "SDKs may use what that file says and not the pod's identity"},
	{"AWS_SHARED_CREDENTIALS_FILE", "SDKs may use the credentials of that file and not the pod's identity"},
}

// metadataDisabled does not change whose credentials a pod has, but what SDKs do without.
const metadataDisabled = "AWS_EC2_METADATA_DISABLED"

// checkOwn warns of what a container brings along.
func (m *mutation) checkOwn(c *container) {
	has := func(name string) bool {
		return slices.ContainsFunc(c.env, func(e envEntry) bool { return e.name == name })
	}
	for _, own := range ofItsOwn {
		if has(own.name) {
			m.warn("container %q sets %s itself; %s", c.name, own.name, own.then)
		}
	}
	if m.account.Container && has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
		m.warn("container %q sets AWS_CONTAINER_CREDENTIALS_RELATIVE_URI itself; SDKs use that and not the pod's identity",
			c.name)
	}
	injected := slices.ContainsFunc(m.more, func(e envVar) bool { return e.Name == metadataDisabled })
	for _, e := range c.env {
		if e.name == metadataDisabled && !injected {
			m.warn("container %q sets %s itself; its SDKs find no region by the metadata service if that is true, "+
				"and may find the node's role there if not", c.name, metadataDisabled)
		}
	}
	for _, from := range c.envFrom {
		if strings.Contains(strings.ToLower(from.name), "aws") || strings.HasPrefix(from.prefix, "AWS") {
			m.warn("container %q takes variables from %s %q; if AWS_ACCESS_KEY_ID, AWS_PROFILE or AWS_CONFIG_FILE is one "+
				"of them, SDKs use that and not the pod's identity", c.name, from.kind, from.name)
		}
	}
}

// halfOf warns of a container that sets one of the two variables of a method: no SDK
// finds credentials by that, and the other is not injected beside what was set.
func (m *mutation) halfOf(c *container, sets, lacks string) {
	m.warn("container %q sets %s itself and not %s; it does not get the pod's identity", c.name, sets, lacks)
	m.result.Missed = fmt.Sprintf("container %q sets %s itself and not %s", c.name, sets, lacks)
}
