// Package build says which build of the program this is: to users, and to every server
// that is called.
//
// It does not print or send anything.
package build

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// What the linker says in builds by the Makefile.
var version, commit, date string

// Info is what is known of this build of the program.
type Info struct {
	Version string `json:"version"`
	// Commit is the revision of the source, and Date its time.
	Commit string `json:"commit,omitempty"`
	Date   string `json:"date,omitempty"`
	// Modified says that the source was not as it was committed.
	Modified  bool   `json:"modified,omitempty"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

// Current is what the linker was told, and otherwise what the Go toolchain recorded.
func Current() Info {
	build := Info{
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
func Version() string { return Current().Version }

// UserAgent is how the program names itself where it calls others: rolecall/VERSION and the
// platform.
var UserAgent = sync.OnceValue(func() string {
	now := Current()
	return "rolecall/" + strings.Trim(now.Version, "()") + " (" + now.Platform + ")"
})
