package flags

import (
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
)

// ValidateInject refuses settings with which no pod would get a role, silently,
// or with which the API server would refuse every pod that gets one.
func ValidateInject(s *inject.Settings) error {
	refused := func(flag, value, want string) error {
		return fault.New(fault.Usage, "--%s %q: want %s", flag, value, want)
	}
	c := &s.Container
	switch {
	case len(validation.IsDNS1123Subdomain(s.Prefix)) > 0:
		return refused("annotation-prefix", s.Prefix, "a domain name, without a slash")
	case s.Audience == "":
		return refused("token-audience", s.Audience,
			"an audience: tokens without one are for the API server, and STS refuses them")
	case c.Audience == "":
		return refused("container-credentials-audience", c.Audience,
			"an audience: tokens without one are for the API server")
	case s.Region != "" && !arn.IsRegionLabel(s.Region):
		return refused("aws-default-region", s.Region, "a region")
	case !inject.IsMountPath(s.MountPath):
		return refused("token-mount-path", s.MountPath, "an absolute path without a colon")
	case !inject.IsMountPath(c.MountPath):
		return refused("container-credentials-token-mount-path", c.MountPath, "an absolute path without a colon")
	case len(validation.IsDNS1123Label(c.VolumeName)) > 0:
		return refused("container-credentials-token-volume-name", c.VolumeName,
			"a volume's name: at most 63 of a-z, 0-9 and -")
	case !inject.IsVolumeFile(c.TokenFile):
		return refused("container-credentials-token-path", c.TokenFile, "a path below the volume's, without ..")
	}
	if uri, err := url.Parse(c.URI); err != nil || uri.Host == "" || (uri.Scheme != "http" && uri.Scheme != "https") {
		return refused("container-credentials-full-uri", c.URI, "an http or https URL")
	}
	return nil
}

// Inject adds the reference webhook's flags, by its names (spec webhook
// §11), where offline and online injection share them.
func Inject(cmd *cobra.Command, settings *inject.Settings) {
	cli.Group(cmd, "Injected web identity", func(f *pflag.FlagSet) {
		f.StringVar(&settings.Prefix, "annotation-prefix", settings.Prefix, "prefix of the annotations that are read")
		f.StringVar(&settings.Audience, "token-audience", settings.Audience,
			"audience of tokens whose service account names none")
		f.StringVar(&settings.MountPath, "token-mount-path", settings.MountPath, "where the token is mounted")
		f.Int64Var(&settings.Expiration, "token-expiration", settings.Expiration,
			"lifetime of tokens in seconds, at least 600")
		f.StringVar(&settings.Region, "aws-default-region", settings.Region,
			"region for containers that have none; empty sets none")
		f.BoolVar(&settings.RegionalSTS, "sts-regional-endpoint", settings.RegionalSTS, "use regional STS endpoints")
		f.BoolVar(&settings.Conformance, "conformance", settings.Conformance,
			"repeat the quirks of amazon-eks-pod-identity-webhook exactly")
	})
}
