package flags

import "github.com/rolecall/rolecall/internal/lazyregexp"

// RegionName is how a region's name looks.
var RegionName = lazyregexp.New(`^[a-z]{2,}(-[a-z]+)+-\d+$`)
