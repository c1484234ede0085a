package inject

import (
	"path"
	"strings"
)

// IsMountPath reports whether the API server accepts a text as the path of a volume mount
// in every container: absolute, and without a colon.
func IsMountPath(text string) bool { return path.IsAbs(text) && !strings.Contains(text, ":") }

// IsVolumeFile reports whether the API server accepts a text as the path of a file in a
// projected volume: relative, and never upwards.
func IsVolumeFile(text string) bool {
	return text != "" && !path.IsAbs(text) && !strings.HasPrefix(text, "..") && !strings.Contains("/"+text+"/", "/../")
}
