package awsapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"

	"github.com/rolecall/rolecall/internal/callerid"
)

// LoginInputs is a sum over all that decides whose credentials the SDK finds: the
// machine, the profile, the environment, the files of profiles, and what people have
// logged in to. It takes no call and no parser, so that it costs little; where it sees
// more than counts, two sums differ for one identity, never the other way round. The
// region is not in it.
func LoginInputs(profile string) [sha256.Size]byte {
	sum := sha256.New()
	host, _ := os.Hostname() // homes are shared, instances' roles are not
	add(sum, "host", []byte(host))
	add(sum, "profile", []byte(cmp.Or(profile, os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE"), "default")))
	if slices.ContainsFunc(beforeProfiles, func(name string) bool { return os.Getenv(name) != "" }) {
		add(sum, "beats the environment", fmt.Append(nil, profile != ""))
	}
	var files [][]byte
	for i, path := range sharedFiles() {
		text, err := os.ReadFile(path)
		add(sum, "file", fmt.Append(nil, i, err == nil))
		add(sum, "text", text)
		files = append(files, text)
	}
	both := bytes.Join(files, []byte("\n"))
	addEnvironment(sum, bytes.Contains(both, []byte("credential_process")))
	for _, name := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"} {
		addFile(sum, os.Getenv(name))
	}
	for line := range bytes.Lines(both) {
		key, value, found := strings.Cut(string(line), "=")
		if found && strings.TrimSpace(strings.ToLower(key)) == "web_identity_token_file" {
			addFile(sum, strings.TrimSpace(value))
		}
	}
	if bytes.Contains(both, []byte("sso_")) {
		if path, err := ssocreds.StandardCachedTokenFilepath("any"); err == nil {
			addFolder(sum, filepath.Dir(path))
		}
	}
	if bytes.Contains(both, []byte("login_session")) {
		addFolder(sum, cmp.Or(os.Getenv("AWS_LOGIN_CACHE_DIRECTORY"),
			filepath.Join(filepath.Dir(config.DefaultSharedConfigFilename()), "login", "cache")))
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// add writes what cannot be taken for something else.
func add(sum hash.Hash, name string, text []byte) {
	_, _ = fmt.Fprintf(sum, "%q %d\n", name, len(text))
	_, _ = sum.Write(text)
}

// beforeProfiles are variables that count before a profile does, unless it was given as an
// argument.
var beforeProfiles = []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"}

// neutral are variables of AWS that say nothing of who calls, or that are in the sum in
// another way. A kubeconfig may set them for a plugin, and the shell where its user logs
// in may not.
var neutral = []string{
	"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION",
	"AWS_DEFAULT_REGION", "AWS_STS_REGIONAL_ENDPOINTS", "AWS_PAGER", "AWS_DEFAULT_OUTPUT", "AWS_SDK_LOAD_CONFIG",
	"AWS_IAM_AUTHENTICATOR_CACHE_FILE",
}

// changes are variables that differ from call to call and say nothing to programs about
// who calls.
var changes = []string{"PWD", "OLDPWD", "SHLVL", "_", "KUBERNETES_EXEC_INFO"}

// addEnvironment adds the variables of AWS; all, if a program of the configuration may
// read them.
func addEnvironment(sum hash.Hash, all bool) {
	environment := os.Environ()
	slices.Sort(environment)
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		isAWS := strings.HasPrefix(name, "AWS_") && !slices.Contains(neutral, name)
		if isAWS || all && !slices.Contains(changes, name) {
			add(sum, "variable "+name, []byte(value))
		}
	}
}

func addFile(sum hash.Hash, path string) {
	if path == "" {
		return
	}
	text, err := os.ReadFile(path)
	add(sum, "file "+path, text)
	add(sum, "found", fmt.Append(nil, err == nil))
}

// addFolder adds which files there are and when they were changed: who logs in or out
// changes them.
func addFolder(sum hash.Hash, path string) {
	entries, _ := os.ReadDir(path)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			add(sum, "entry "+entry.Name(), fmt.Appendf(nil, "%d %d", info.Size(), info.ModTime().UnixNano()))
		}
	}
}

// subjectName is a name for a session of a service account, or who else a token of an
// issuer is of; empty if it says nothing that can be read. The token is not verified:
// the name is a label.
func subjectName(token []byte) string {
	parts := strings.Split(strings.TrimSpace(string(token)), ".")
	if len(parts) != 3 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return callerid.SessionNameFor(claims.Subject)
}
