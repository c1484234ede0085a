package inject

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/rolecall/rolecall/internal/arn"
)

// options are annotations that only Rolecall reads, on a service account or on
// a pod, whose word counts more. Without them nothing is injected.
type options struct {
	region       string
	skipRegion   bool
	sessionName  string
	environments []envVar
}

// sdkOptions are settings of the SDKs that have an environment variable in all
// of them, in the order in which they are injected.
var sdkOptions = []struct {
	annotation, variable, want string
	valid                      func(string) bool
}{
	{"use-fips-endpoint", "AWS_USE_FIPS_ENDPOINT", "true or false", isBool},
	{"use-dualstack-endpoint", "AWS_USE_DUALSTACK_ENDPOINT", "true or false", isBool},
	{"ec2-metadata-disabled", "AWS_EC2_METADATA_DISABLED", "true or false", isBool},
	{"sts-endpoint-url", "AWS_ENDPOINT_URL_STS", "an http or https URL", isURL},
	{"retry-mode", "AWS_RETRY_MODE", "legacy, standard or adaptive", func(s string) bool {
		return slices.Contains([]string{"legacy", "standard", "adaptive"}, s)
	}},
	{"max-attempts", "AWS_MAX_ATTEMPTS", "a number from 1 to 100", func(s string) bool {
		n, err := strconv.Atoi(s)
		return err == nil && n >= 1 && n <= 100
	}},
	{"sdk-app-id", "AWS_SDK_UA_APP_ID", "1 to 50 characters", func(s string) bool { return s != "" && len(s) <= 50 }},
}

// SDKs take no other words than these two.
func isBool(s string) bool { return s == "true" || s == "false" }

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// read takes over what annotations say. What cannot be read is not injected.
func (o *options) read(own map[string]string, prefix string, warn func(format string, args ...any)) {
	if region, found := own["region"]; found {
		switch {
		case !arn.IsRegionLabel(region):
			warn("annotation %sregion %q is not a region: want a name such as eu-west-1; it is not used",
				prefix, region)
		case !arn.IsRegion(region): // other object stores' and emulators' are called anything
			o.region = region
			warn("annotation %sregion %q is not the name of an AWS region, such as eu-west-1; it is injected as it is",
				prefix, region)
		default:
			o.region = region
		}
	}
	if text, found := own["skip-region-injection"]; found {
		skip, err := strconv.ParseBool(text)
		if err != nil {
			warn("annotation %sskip-region-injection %q is neither true nor false; it is not used", prefix, text)
		} else {
			o.skipRegion = skip
		}
	}
	if name, found := own["role-session-name"]; found {
		o.sessionName = name
		if name != podSession && name != "" && !arn.IsSessionName(name) {
			warn("annotation %srole-session-name %q is not a session name (2 to 64 of A-Z a-z 0-9 _+=,.@-); %q is used",
				prefix, name, sessionName(name))
		}
	}
	for _, option := range sdkOptions {
		value, found := own[option.annotation]
		switch {
		case !found:
		case option.valid(value):
			o.set(envVar{Name: option.variable, Value: value})
		default:
			warn("annotation %s%s %q: want %s; it is not used", prefix, option.annotation, value, option.want)
		}
	}
}

// set replaces a variable of the same name. The slice is copied: an account's
// is shared by all its pods.
func (o *options) set(variable envVar) {
	o.environments = slices.Clone(o.environments)
	for i := range o.environments {
		if o.environments[i].Name == variable.Name {
			o.environments[i] = variable
			return
		}
	}
	o.environments = append(o.environments, variable)
}

// podSession, as the annotation's value, names sessions after their pods.
const podSession = "{pod}"

// sessionVariable is AWS_ROLE_SESSION_NAME, if there must be one. A generated
// pod name is not known at admission; it has at most 63 characters, all of which
// a session name may have, so the kubelet fills it in. A given name may be
// longer and is written out.
func (m *mutation) sessionVariable() (variable envVar, wanted bool) {
	name := m.account.options.sessionName
	if name == "" && m.settings.SessionFromPod && !m.settings.Conformance {
		name = podSession
	}
	variable.Name = "AWS_ROLE_SESSION_NAME"
	switch {
	case name == "" || m.account.Container: // the agent names those sessions
		return envVar{}, false
	case name != podSession:
		variable.Value = sessionName(name)
	case m.pod.name != "":
		variable.Value = sessionName(m.pod.name)
	default:
		variable.ValueFrom = &envSource{fieldRef{"metadata.name"}}
	}
	return variable, true
}

// sessionName turns any text, even a short one, into a name that STS accepts.
func sessionName(text string) string {
	name := arn.SessionName(text)
	if len(name) < arn.MinSessionName {
		name = "pod-" + name
	}
	return name
}
