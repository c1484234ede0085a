package sources

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/awsauth"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/authenticator"
	"github.com/rolecall/rolecall/internal/authenticator/peerconfig"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/rawjson"
)

// look is how often files are looked at: a change counts within a second.
const look = 400 * time.Millisecond

// maxFile is the longest file that is read, in bytes.
const maxFile = 64 << 20

// file is one that is looked at again and again.
type file struct {
	path  string
	stamp stamp
}

// stamp tells two states of a file apart without reading it; the zero one is that there is
// no file.
type stamp struct {
	modified time.Time
	size     int64
}

// changed returns the text if it is another than before; nil if the file is gone.
func (f *file) changed() (text []byte, changed bool, err error) {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		changed = f.stamp != stamp{}
		f.stamp = stamp{}
		return nil, changed, nil
	}
	if err != nil {
		return nil, false, err
	}
	if at := (stamp{info.ModTime(), info.Size()}); at != f.stamp {
		opened, err := os.Open(f.path)
		if err != nil {
			return nil, false, err
		}
		defer func() { _ = opened.Close() }()
		if text, err = io.ReadAll(io.LimitReader(opened, maxFile)); err != nil {
			return nil, false, err
		}
		f.stamp = at
		return text, true, nil
	}
	return nil, false, nil
}

// every calls a function again and again until ctx is done.
func every(ctx context.Context, again time.Duration, do func()) error {
	ticker := time.NewTicker(again)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			do()
		}
	}
}

// refused are the problems of what does not count.
func refused(problems []access.Problem) []access.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p access.Problem) bool { return !p.Refused })
}

// MountedFile follows the lists in the configuration file. One in which an entry is not
// valid does not count at all: what was there before does, and at the start there is
// nothing, which is an error.
func (s *Set) MountedFile(path string) (run func(context.Context) error, err error) {
	f, say := &file{path: path}, s.teller()
	options := awsauth.Options{Source: access.MountedFile, Place: path, PinUserIDs: s.pin}
	take := func(text []byte) error {
		content, err := awsauth.Config(text, options)
		if err != nil {
			return err
		}
		if bad := refused(faults(access.MountedFile, content)); len(bad) > 0 {
			s.metrics.Problems.WithLabelValues(string(access.MountedFile)).Set(float64(len(bad)))
			wrong := fault.New(fault.Invalid, "%s", bad[0].Error())
			if bad[0].Hint != "" {
				return wrong.Hint("%s", bad[0].Hint)
			}
			return wrong
		}
		table := s.put(access.MountedFile, content.Mappings(), content.Problems(), true)
		say.tell(access.MountedFile, table)
		s.good(access.MountedFile, "")
		return nil
	}
	if path == "" {
		s.put(access.MountedFile, nil, nil, true)
		return func(context.Context) error { return nil }, nil
	}
	text, _, err := f.changed()
	if err == nil {
		err = take(text)
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return every(ctx, look, func() {
			text, changed, err := f.changed()
			if err == nil && (!changed || text == nil) { // a file that is gone for a moment is being replaced
				return
			}
			if err == nil {
				err = take(text)
			}
			if err != nil {
				s.log.Error("mappings of the configuration file not read again; what it said before counts", "file", path,
					"error", err, "hints", fault.HintsOf(err))
				return
			}
			s.log.Info("mappings of the configuration file read again", "file", path)
		})
	}, nil
}

// DynamicFile follows a file that another program writes. One bad entry keeps what was
// before; a file that is deleted maps nobody. kept is where what was last good is kept over
// restarts; empty for nowhere.
func (s *Set) DynamicFile(path string, strict bool, kept string) func(context.Context) error {
	d := &dynamicFile{Set: s, file: file{path: path}, kept: kept, say: s.teller(), options: awsauth.Options{
		Source: access.DynamicFile, Place: path, PinUserIDs: strict,
	}}
	d.start()
	return func(ctx context.Context) error { return every(ctx, look, d.look) }
}

type dynamicFile struct {
	*Set
	file
	kept    string
	options awsauth.Options
	say     *teller
}

// start reads it for the first time. A file that is not there maps nobody, and is waited
// for.
func (d *dynamicFile) start() {
	if d.look(); d.stamp != (stamp{}) && d.isSynced() {
		return
	}
	if d.kept == "" || d.stamp == (stamp{}) {
		d.put(access.DynamicFile, nil, nil, d.stamp == stamp{})
		return
	}
	text, err := os.ReadFile(d.kept)
	if err != nil {
		return
	}
	if content := awsauth.Dynamic(text, d.options); len(refused(content.Problems())) == 0 {
		d.put(access.DynamicFile, content.Mappings(), content.Problems(), true)
		d.log.Info("what the dynamic file said before the restart counts", "file", d.path)
	}
}

func (s *Set) isSynced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sources[access.DynamicFile]
	return one != nil && one.synced
}

func (d *dynamicFile) look() {
	text, changed, err := d.changed()
	switch {
	case err == nil && !changed:
		return
	case err == nil && text == nil:
		d.put(access.DynamicFile, nil, nil, true)
		d.keep(nil)
		d.log.Warn("the dynamic file is gone: it maps nobody", "file", d.path)
		return
	case err == nil:
		content := awsauth.Dynamic(text, d.options)
		if bad := refused(faults(access.DynamicFile, content)); len(bad) > 0 {
			d.metrics.Problems.WithLabelValues(string(access.DynamicFile)).Set(float64(len(bad)))
			err = fault.New(fault.Invalid, "%s", bad[0].Error())
			break
		}
		table := d.put(access.DynamicFile, content.Mappings(), content.Problems(), true)
		d.say.tell(access.DynamicFile, table)
		d.good(access.DynamicFile, "")
		d.keep(text)
		d.since(authenticator.TypeDynamicFile, text)
		d.log.Info("dynamic file read", "file", d.path, "mappings", table.Len())
		return
	}
	d.metrics.DynamicFileFailures.Inc()
	d.fail(access.DynamicFile, err)
	d.log.Error("dynamic file not read; what it said before counts", "file", d.path, "error", err)
}

func (d *dynamicFile) keep(text []byte) {
	if d.kept == "" {
		return
	}
	err := os.Remove(d.kept)
	if text != nil {
		err = atomicfile.Write(d.kept, text, 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Error("what the dynamic file says is not kept for a restart", "file", d.kept, "error", err)
	}
}

// since observes how long ago a file says that it was written.
func (s *Set) since(kind string, text []byte) {
	if written := memberOf(text, "LastUpdatedDateTime"); written != "" {
		if seconds, err := strconv.ParseInt(written, 10, 64); err == nil {
			s.metrics.EndToEnd.WithLabelValues(kind).Observe(s.now().Sub(time.Unix(seconds, 0)).Seconds())
		}
	}
}

// memberOf is a text or number of a JSON object; empty if there is none.
func memberOf(text []byte, name string) (value string) {
	reader := rawjson.NewReader(text)
	_ = reader.Object(func(member []byte) error {
		if !strings.EqualFold(string(member), name) {
			return reader.Skip()
		}
		raw, err := reader.Raw()
		value = strings.Trim(string(raw), `"`)
		return err
	})
	return value
}

// BackendMode follows a file that says which of the sources count, in which order. One that
// cannot be read, or names what is not followed, changes nothing; without the file it is as
// configured.
func (s *Set) BackendMode(path string, configured, followed []access.Source) func(context.Context) error {
	f, wanted := &file{path: path}, configured
	lookAgain := func() {
		text, changed, err := f.changed()
		switch {
		case err == nil && !changed:
			return
		case err == nil && text == nil:
			wanted = configured
		case err == nil:
			var modes []access.Source
			mode := memberOf(text, "backendMode")
			if modes, err = peerconfig.ParseBackends(strings.Fields(mode)); err == nil {
				for _, one := range modes {
					if !slices.Contains(followed, one) {
						err = fault.New(fault.Invalid, "backend mode %s is not followed by this server", one)
					}
				}
			}
			if err == nil {
				wanted = modes
				s.since(authenticator.TypeBackendMode, text)
			}
		}
		if err != nil {
			s.metrics.DynamicFileFailures.Inc()
			s.log.Error("backend modes not read; those of before count", "file", path, "error", err,
				"hints", fault.HintsOf(err))
			return
		}
		s.setBackends(wanted)
		s.log.Info("backend modes", "file", path, "modes", wanted)
	}
	lookAgain()
	return func(ctx context.Context) error { return every(ctx, look, lookAgain) }
}

// faults are all that is wrong with a file: what cannot be read, and what may not be given.
func faults(source access.Source, content awsauth.Content) []access.Problem {
	return access.NewTable(source, content.Mappings(), content.Problems()...).Problems()
}
