package app

import (
	"net/url"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
)

// validateInject refuses settings with which no pod would get a role, in silence,
// or with which the API server would refuse every pod that gets one.
func validateInject(s *inject.Settings) error {
	refused := func(flag, value, want string) error {
		return fault.New(fault.Usage, "--%s %q: want %s", flag, value, want)
	}
	c := &s.Container
	switch {
	case len(validation.IsDNS1123Subdomain(s.Prefix)) > 0:
		return refused("annotation-prefix", s.Prefix, "a domain name, without a slash")
	case s.Audience == "":
		return refused("token-audience", s.Audience, "an audience: tokens without one are for the API server, and STS refuses them")
	case c.Audience == "":
		return refused("container-credentials-audience", c.Audience, "an audience: tokens without one are for the API server")
	case s.Region != "" && !arn.IsRegionLabel(s.Region):
		return refused("aws-default-region", s.Region, "a region")
	case !isMountPath(s.MountPath):
		return refused("token-mount-path", s.MountPath, "an absolute path without a colon")
	case !isMountPath(c.MountPath):
		return refused("container-credentials-token-mount-path", c.MountPath, "an absolute path without a colon")
	case len(validation.IsDNS1123Label(c.VolumeName)) > 0:
		return refused("container-credentials-token-volume-name", c.VolumeName, "a volume's name: at most 63 of a-z, 0-9 and -")
	case !isFileBelow(c.TokenFile):
		return refused("container-credentials-token-path", c.TokenFile, "a path below the volume's, without ..")
	}
	if uri, err := url.Parse(c.URI); err != nil || uri.Host == "" || (uri.Scheme != "http" && uri.Scheme != "https") {
		return refused("container-credentials-full-uri", c.URI, "an http or https URL")
	}
	return nil
}

func isMountPath(text string) bool { return path.IsAbs(text) && !strings.Contains(text, ":") }

// isFileBelow is what the API server takes as a file's path in a projected volume.
func isFileBelow(text string) bool {
	return text != "" && !path.IsAbs(text) && !strings.HasPrefix(text, "..") && !strings.Contains("/"+text+"/", "/../")
}
