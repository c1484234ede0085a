package desk

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/apiserverflags"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/filelock"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// Files of the folder beside those of plan, which are for the API servers.
const (
	issuerFile = "issuer.yaml"
	stateFile  = "rotation.json" // how far a rotation is
	lockFile   = ".lock"         // held by the process that changes the folder or what it publishes
)

// Folder is where an issuer's files are, by its path. All of them are written with mode
// 0600, each in one step.
type Folder string

// Path returns the path of a file in the folder.
func (f Folder) Path(name string) string { return filepath.Join(string(f), name) }

// IssuerFile is the path of issuer.yaml.
func (f Folder) IssuerFile() string { return f.Path(issuerFile) }

// Make makes the folder, for its owner only, unless it is there.
func (f Folder) Make() error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}

// Lock keeps other commands of the same folder out until unlock is called or the
// process ends, however it ends: a step of a rotation reads the state, looks,
// publishes and writes the state, and another step in between would publish what
// the first has left behind. It refuses at once, since nobody knows how long the
// other takes, or whether the step is still wanted after it.
func (f Folder) Lock() (unlock func(), err error) {
	lock, err := filelock.Try(f.Path(lockFile))
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return nil, fault.New(fault.Conflict, "another command works in %s", string(f)).
			Hint("try again when it has ended")
	case err != nil:
		return nil, fault.New(fault.Unavailable, "lock the folder: %w", err)
	}
	if err := f.sweep(); err != nil {
		return nil, errors.Join(fault.New(fault.Unavailable, "remove what a killed command has left in the folder: %w", err),
			lock.Release())
	}
	return func() { _ = lock.Release() }, nil
}

// sweep removes what commands have left behind that were killed while they wrote.
func (f Folder) sweep() error {
	swept := []error{atomicfile.SweepUnnamed(string(f))}
	names := append([]string{issuerFile, stateFile}, plan.KeyFiles()...)
	for _, name := range apiserverflags.Names() {
		names = append(names, string(name)+".yaml")
	}
	for _, name := range names {
		swept = append(swept, atomicfile.Sweep(f.Path(name)))
	}
	return errors.Join(swept...)
}

// Load reads issuer.yaml.
func (f Folder) Load() (*v1alpha1.Issuer, error) {
	text, err := os.ReadFile(f.IssuerFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "there is no %s", f.IssuerFile()).
			Hint("make it with `rolecall issuer init`, or name its folder with --dir")
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the issuer: %w", err)
	}
	var object v1alpha1.Issuer
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return nil, yamledit.Invalid(f.IssuerFile(), 1, text, err)
	}
	if object.APIVersion != v1alpha1.GroupVersion.String() || object.Kind != "Issuer" {
		return nil, fault.New(fault.Invalid, "%s is of apiVersion %q and kind %q: want %s and Issuer",
			f.IssuerFile(), object.APIVersion, object.Kind, v1alpha1.GroupVersion)
	}
	return &object, nil
}

// Save writes issuer.yaml, without a status.
func (f Folder) Save(object *v1alpha1.Issuer) error {
	text, err := yaml.Marshal(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        map[string]string   `json:"metadata"`
		Spec            v1alpha1.IssuerSpec `json:"spec"`
	}{object.TypeMeta, map[string]string{"name": object.Name}, object.Spec})
	if err != nil {
		return err
	}
	return f.Write(issuerFile, text)
}

// Write replaces a file of the folder.
func (f Folder) Write(name string, text []byte) error {
	path := f.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	if err := atomicfile.Write(path, text, 0o600); err != nil {
		return fault.New(fault.Unavailable, "write %s: %w", path, err)
	}
	return nil
}

// State reads how far a rotation is; without rotation.json none has been recorded.
func (f Folder) State() (rotation.State, error) {
	text, err := os.ReadFile(f.Path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return rotation.New(time.Time{}), nil
	}
	if err != nil {
		return rotation.State{}, fault.New(fault.Unavailable, "read the rotation: %w", err)
	}
	state, err := rotation.Parse(text)
	if err != nil {
		return rotation.State{}, fault.New(fault.Invalid, "%s: %w", f.Path(stateFile), err)
	}
	return state, nil
}

// keep writes how far a rotation is.
func (f Folder) keep(state rotation.State) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	return f.Write(stateFile, append(text, '\n'))
}

// files reads all files with keys.
func (f Folder) files() (plan.Files, error) {
	files := plan.Files{}
	for _, name := range plan.KeyFiles() {
		text, err := os.ReadFile(f.Path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fault.New(fault.NotFound, "read keys: %w", err)
		}
		files[name] = text
	}
	return files, nil
}

// Known returns the public keys of the folder's files; none if it has none.
func (f Folder) Known() ([]token.PublicKey, error) {
	files, err := f.files()
	if err != nil {
		return nil, err
	}
	known, err := files.Known()
	if err != nil {
		return nil, f.explain(err)
	}
	return known, nil
}

// explain says which file of the folder cannot be used.
func (f Folder) explain(err error) error {
	unreadable, isFile := errors.AsType[*plan.Unreadable](err)
	switch {
	case !isFile:
		return err
	case errors.Is(unreadable.Err, plan.ErrMissing):
		return fault.New(fault.NotFound, "read keys: there is no %s", f.Path(unreadable.Name))
	}
	return fault.New(fault.Invalid, "%s: %w", f.Path(unreadable.Name), unreadable.Err)
}

// change does what a plan says, in its order.
func (f Folder) change(changes []plan.Change) error {
	for _, change := range changes {
		if !change.Remove {
			if err := f.Write(change.Name, change.Text); err != nil {
				return err
			}
			continue
		}
		if err := os.Remove(f.Path(change.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Unavailable, "%w", err)
		}
	}
	return nil
}

// Accept lets the API servers accept exactly these keys.
func (f Folder) Accept(keys []token.PublicKey) error {
	text, err := token.PublicPEM(keys)
	if err != nil {
		return err
	}
	return f.Write(plan.Accepted, text)
}

// EnsureKeys makes the first key of a new cluster unless the folder has keys already, and
// returns the path of what it made, if anything.
func (f Folder) EnsureKeys(newKey func() (*token.Key, error)) (made string, err error) {
	if _, err := os.Stat(f.Path(plan.Accepted)); err == nil {
		return "", nil
	}
	path := f.Path(plan.Signing)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if text, err = f.makeKey(plan.Signing, newKey); err != nil {
			return "", err
		}
		made = path
	case err != nil:
		return "", fault.New(fault.Unavailable, "read the key: %w", err)
	}
	keys, err := document.Keys(text)
	if err != nil {
		return made, fault.New(fault.Invalid, "%s: %w", path, err)
	}
	return made, f.Accept(keys)
}

func (f Folder) makeKey(name string, newKey func() (*token.Key, error)) (text []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	if text, err = key.PEM(); err != nil {
		return nil, err
	}
	return text, f.Write(name, text)
}

// nextKey returns the key that a start which did not end has made, or makes one.
func (f Folder) nextKey(newKey func() (*token.Key, error)) (*token.Key, error) {
	text, err := os.ReadFile(f.Path(plan.Next))
	if err != nil {
		if text, err = f.makeKey(plan.Next, newKey); err != nil {
			return nil, err
		}
	}
	key, err := token.ParsePrivateKey(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", f.Path(plan.Next), err)
	}
	return key, nil
}
