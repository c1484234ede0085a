package cli

import "github.com/rolecall/rolecall/internal/build"

// Build is what is known of this build of the program.
type Build = build.Info

// CurrentBuild is what the linker was told, and otherwise what the Go toolchain recorded.
func CurrentBuild() Build { return build.Current() }

// Version is the version of this build alone.
func Version() string { return build.Version() }
