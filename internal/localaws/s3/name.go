package s3

import (
	"net/netip"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

var namePattern = lazyregexp.New(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// validName is S3's rule for the names of buckets.
func validName(name string) bool {
	if !namePattern.MatchString(name) || strings.Contains(name, "..") || strings.HasPrefix(name, "xn--") ||
		strings.HasSuffix(name, "-s3alias") || strings.HasSuffix(name, "--ol-s3") || strings.HasSuffix(name, "--x-s3") {
		return false
	}
	_, err := netip.ParseAddr(name)
	return err != nil
}
