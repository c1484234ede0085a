package plane

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// Endpoints is how a running plane is reached. It is what `up` leaves in a file
// for `run` to find.
type Endpoints struct {
	PID     int    // of the process that runs it
	AWS     string // http://127.0.0.1:PORT
	Region  string
	Webhook string // https://127.0.0.1:PORT/mutate
	Tokens  string // https://127.0.0.1:PORT, kube-apiserver's paths below
	Agent   string // http://127.0.0.1:PORT/v1/credentials
	// Bearer lets its owner ask for any service account's token.
	Bearer credential.Secret
	CA     []byte // PEM of the authority that signed the two servers' certificates
}

// endpointsFile is the file's form; the one place where the bearer is written.
type endpointsFile struct {
	PID                                 int
	AWS, Region, Webhook, Tokens, Agent string
	Bearer                              string
	CA                                  string
}

// EndpointsPath returns where the file of the user's running plane is.
func EndpointsPath(getenv func(string) string) (string, error) {
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "rolecall", "up.json"), nil
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "rolecall", "up.json"), nil
	}
	return "", fault.New(fault.Usage, "neither XDG_RUNTIME_DIR nor HOME is set").
		Hint("set one of them; the running plane's endpoints are kept below it")
}

// Running returns the endpoints of the user's plane; nil if none is running, as when the
// file is of one that has ended.
func Running(ctx context.Context, getenv func(string) string) (*Endpoints, error) {
	path, err := EndpointsPath(getenv)
	if err != nil {
		return nil, err
	}
	endpoints, found, err := LoadEndpoints(path)
	if err != nil || !found || !NewClient(endpoints).Alive(ctx) {
		return nil, err
	}
	return endpoints, nil
}

// Save writes the file for its owner's eyes only, replacing an older one as a
// whole.
func (e *Endpoints) Save(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.New(fault.Unavailable, "save the plane's endpoints: %w", err)
	}
	text, err := json.Marshal(
		endpointsFile{e.PID, e.AWS, e.Region, e.Webhook, e.Tokens, e.Agent, e.Bearer.Reveal(), string(e.CA)})
	if err != nil {
		return fault.New(fault.Internal, "save the plane's endpoints: %w", err)
	}
	return writeFile(path, text)
}

// LoadEndpoints reads the file. found is false when there is none.
func LoadEndpoints(path string) (endpoints *Endpoints, found bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fault.New(fault.Unavailable, "read the running plane's endpoints: %w", err)
	}
	var file endpointsFile
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, false, fault.New(fault.Invalid, "read the running plane's endpoints in %s: %w", path, err).
			Hint("remove the file and start `rolecall up` again")
	}
	return &Endpoints{
		PID:     file.PID,
		AWS:     file.AWS,
		Region:  file.Region,
		Webhook: file.Webhook,
		Tokens:  file.Tokens,
		Agent:   file.Agent,
		Bearer:  credential.NewSecret(file.Bearer), CA: []byte(file.CA),
	}, true, nil
}

// writeFile replaces a file that nobody else may read.
func writeFile(path string, content []byte) error { return atomicfile.Write(path, content, 0o600) }
