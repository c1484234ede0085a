package flags

import "regexp"

// RegionName is how a region's name looks.
var RegionName = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-\d+$`)
