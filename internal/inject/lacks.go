package inject

import (
	"fmt"
	"slices"
	"strings"
)

// Lacks says whether a pod that exists would have got an identity by each method, had its
// account had one and the webhook been asked when the pod was created, and has none. A pod
// of which any container has credentials of its own, no matter who set them, lacks nothing: what
// it was given is used.
func Lacks(podJSON []byte, settings Settings) (webIdentity, containerCredentials bool, err error) {
	p, err := decodePod(podJSON)
	if err != nil {
		return false, false, fmt.Errorf("decode pod: %w", err)
	}
	if p.skip || p.hasCredentials() {
		return false, false, nil
	}
	web, agent := settings.none(), settings.none()
	web.Role = "arn:aws:iam::000000000000:role/any"
	agent.Container, agent.Audience = true, settings.Container.Audience
	for _, row := range []struct {
		account Account
		into    *bool
	}{{web, &webIdentity}, {agent, &containerCredentials}} {
		result, err := Pod(podJSON, row.account, settings)
		if err != nil {
			return false, false, err
		}
		*row.into = slices.ContainsFunc(result.Patch, func(o Operation) bool {
			return strings.HasPrefix(o.Path, "/spec/containers") || strings.HasPrefix(o.Path, "/spec/initContainers")
		})
	}
	return webIdentity, containerCredentials, nil
}

// credentials are variables by which SDKs find credentials before they ask the node.
var credentials = []string{
	"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
}

func (p *pod) hasCredentials() bool {
	for _, c := range slices.Concat(p.containers, p.initContainers) {
		if slices.ContainsFunc(c.env, func(e envEntry) bool { return slices.Contains(credentials, e.name) }) {
			return true
		}
	}
	return false
}
