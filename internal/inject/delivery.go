package inject

import (
	"path"
	"strings"
)

// delivery is how one method brings credentials into containers.
type delivery struct {
	method                Method
	volumeName, mountPath string
	tokenFile, audience   string
	// The two variables of the method, and the first one's value; the second's
	// is the token's path.
	first, second, firstValue string
	// The other method's variables.
	others [2]string
}

var webIdentityVariables = [2]string{"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"}

var containerVariables = [2]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"}

func (s *Settings) delivery(a *Account) delivery {
	if a.Container {
		return delivery{
			method:     ContainerCredentials,
			volumeName: s.Container.VolumeName,
			mountPath:  s.Container.MountPath,
			tokenFile:  s.Container.TokenFile,
			audience:   a.Audience,
			first:      containerVariables[0],
			second:     containerVariables[1],
			firstValue: s.Container.URI,
			others:     webIdentityVariables,
		}
	}
	return delivery{
		method:     WebIdentity,
		volumeName: "aws-iam-token",
		mountPath:  s.MountPath,
		tokenFile:  "token",
		audience:   a.Audience,
		first:      webIdentityVariables[0],
		second:     webIdentityVariables[1],
		firstValue: a.Role,
		others:     containerVariables,
	}
}

func (d *delivery) tokenPath(windows bool) string {
	posix := path.Join(d.mountPath, d.tokenFile)
	if windows {
		return "C:" + strings.ReplaceAll(posix, "/", `\`)
	}
	return posix
}

// cleanPath makes the ways to write one path comparable, Windows' too: two mounts
// of one path make the API server refuse the pod.
func cleanPath(mountPath string) string {
	return path.Clean(strings.TrimPrefix(strings.ReplaceAll(mountPath, `\`, "/"), "C:"))
}

type envVar struct {
	Name      string     `json:"name"`
	Value     string     `json:"value,omitempty"`
	ValueFrom *envSource `json:"valueFrom,omitempty"`
}

type envSource struct {
	FieldRef fieldRef `json:"fieldRef"`
}

type fieldRef struct {
	FieldPath string `json:"fieldPath"`
}

type tokenVolume struct {
	Name      string          `json:"name"`
	Projected tokenProjection `json:"projected"`
}

type tokenProjection struct {
	Sources []tokenSource `json:"sources"`
}

type tokenSource struct {
	ServiceAccountToken tokenRequest `json:"serviceAccountToken"`
}

type tokenRequest struct {
	Audience          string `json:"audience,omitempty"`
	ExpirationSeconds int64  `json:"expirationSeconds"`
	Path              string `json:"path"`
}

type volumeMount struct {
	Name      string `json:"name"`
	ReadOnly  bool   `json:"readOnly"`
	MountPath string `json:"mountPath"`
}

func (d *delivery) volume(expiration int64) tokenVolume {
	request := tokenRequest{d.audience, expiration, d.tokenFile}
	return tokenVolume{d.volumeName, tokenProjection{[]tokenSource{{request}}}}
}

func (d *delivery) mount() volumeMount { return volumeMount{d.volumeName, true, d.mountPath} }
