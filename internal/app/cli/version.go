package cli

import "runtime/debug"

// version is set by the linker in releases.
var version string

// currentVersion falls back to what the Go toolchain recorded.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}
