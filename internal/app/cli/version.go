package cli

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// What the linker says in builds by the Makefile.
var version, commit, date string

// Build is what is known of this build of the program.
type Build struct {
	Version string `json:"version"`
	// Commit is the revision of the source, and Date its time.
	Commit string `json:"commit,omitempty"`
	Date   string `json:"date,omitempty"`
	// Modified says that the source was not as it was committed.
	Modified  bool   `json:"modified,omitempty"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

// CurrentBuild is what the linker was told, and otherwise what the Go toolchain recorded.
func CurrentBuild() Build {
	build := Build{
		Version:   cmp.Or(version, "(unknown)"),
		GoVersion: runtime.Version(),
		Platform:  runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if ok && version == "" && info.Main.Version != "" {
		build.Version = info.Main.Version
	}
	if ok {
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				build.Commit = setting.Value
			case "vcs.time":
				build.Date = setting.Value
			case "vcs.modified":
				build.Modified = setting.Value == "true"
			}
		}
	}
	build.Commit, build.Date = cmp.Or(commit, build.Commit), cmp.Or(date, build.Date)
	return build
}

// Version is the version of this build alone.
func Version() string { return CurrentBuild().Version }
