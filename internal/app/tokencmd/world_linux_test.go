package tokencmd_test

import (
	"context"
	"crypto/sha1" //nolint:gosec // names of files
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/tokencmd"
	"github.com/rolecall/rolecall/internal/fault"
)

const (
	account   = "111122223333"
	device    = "arn:aws:iam::111122223333:mfa/alice"
	secret    = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	aliceKey  = "AKIAALICE"
	bobKey    = "AKIABOBXX"
	developer = "arn:aws:iam::111122223333:role/dev.eks-access.role"
	admin     = "arn:aws:iam::111122223333:role/team/admin"
)

// world is a machine with a home, a clock, and an AWS that answers what is expected of
// it: STS and SSO, which believe every signature.
type world struct {
	t    *testing.T
	home string
	now  time.Time
	// terminal is standard input, if it is one; keys is where its user types.
	terminal, keys *os.File

	mu      sync.Mutex
	arns    map[string]string // by access key
	calls   map[string]int    // by operation
	roles   []url.Values      // what AssumeRole was asked
	refuse  func(action string, asked url.Values, key string) (code, message string)
	life    time.Duration
	skew    time.Duration
	entered int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, home: t.TempDir(), now: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), life: time.Hour,
		arns: map[string]string{
			aliceKey: "arn:aws:iam::" + account + ":user/staff/alice",
			bobKey:   "arn:aws:iam::" + account + ":user/bob",
		},
		calls: map[string]int{},
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "KUBE") || name == "DEFAULT_ROLE" {
			t.Setenv(name, "")
			_ = os.Unsetenv(name)
		}
	}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"HOME": w.home, "AWS_ENDPOINT_URL": server.URL, "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "eu-west-1",
		// The SDK has found its own when the process started.
		"AWS_CONFIG_FILE": filepath.Join(w.home, ".aws/config"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(w.home,
			".aws/credentials"),
	} {
		t.Setenv(name, value)
	}
	return w
}

// ServeHTTP is AWS.
func (w *world) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer.Header().Set("Date", w.now.Add(w.skew).Format(http.TimeFormat))
	if strings.HasPrefix(r.URL.Path, "/federation/credentials") {
		w.calls["GetRoleCredentials"]++
		key := w.newKey("arn:aws:sts::" + account + ":assumed-role/AWSReservedSSO_Dev_0a/alice@example.com")
		_ = json.NewEncoder(answer).Encode(map[string]any{"roleCredentials": map[string]any{
			"accessKeyId": key, "secretAccessKey": secret, "sessionToken": "sso-token",
			"expiration": w.now.Add(w.life).UnixMilli(),
		}})
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	action := r.Form.Get("Action")
	_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ = strings.Cut(key, "/")
	w.calls[action]++
	if w.refuse != nil {
		if code, message := w.refuse(action, r.Form, key); code != "" {
			answer.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(
				answer,
				"<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>",
				code,
				message,
			)
			return
		}
	}
	result := fmt.Sprintf("<Arn>%s</Arn><UserId>AIDAX</UserId><Account>%s</Account>", w.arns[key], account)
	if strings.HasPrefix(action, "AssumeRole") {
		if action == "AssumeRole" {
			w.roles = append(w.roles, r.Form)
		}
		_, name, _ := strings.Cut(r.Form.Get("RoleArn"), "/")
		arn := "arn:aws:sts::" + account + ":assumed-role/" + name[strings.LastIndexByte(name, '/')+1:] + "/" +
			r.Form.Get(
				"RoleSessionName",
			)
		result = fmt.Sprintf("<AssumedRoleUser><Arn>%s</Arn><AssumedRoleId>AROAX:s</AssumedRoleId></AssumedRoleUser>"+
			"<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey>"+
			"<SessionToken>session-token</SessionToken><Expiration>%s</Expiration></Credentials>",
			arn, w.newKey(arn), secret, w.now.Add(w.life).Format(time.RFC3339))
	}
	fmt.Fprintf(answer, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", action, result)
}

func (w *world) newKey(arn string) string {
	w.entered++
	key := "ASIA" + strconv.Itoa(w.entered)
	w.arns[key] = arn
	return key
}

// asked are the calls since it was last called.
func (w *world) asked() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.calls
	w.calls = map[string]int{}
	return all
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.home, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// profiles writes the configuration, in which alice's keys are the default.
func (w *world) profiles(config string) {
	w.write(".aws/credentials", "[default]\naws_access_key_id="+aliceKey+"\naws_secret_access_key="+secret+
		"\n[bob]\naws_access_key_id="+bobKey+"\naws_secret_access_key="+secret+"\n")
	w.write(".aws/config", config)
}

// ran is what a command left.
type ran struct {
	err         error
	out, errors string
}

func (w *world) run(arguments ...string) ran {
	w.t.Helper()
	return w.runWith(w.t.Context(), "", arguments...)
}

func (w *world) runWith(ctx context.Context, stdin string, arguments ...string) ran {
	w.t.Helper()
	var out, says strings.Builder
	sys := cli.System{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &says, Getenv: os.Getenv, Environ: os.Environ,
		Now: func() time.Time { return w.now },
	}
	if w.terminal != nil {
		sys.Stdin = w.terminal
	}
	root := &cobra.Command{Use: cli.Name, SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(tokencmd.New(sys))
	root.SetArgs(append([]string{"token"}, arguments...))
	err := root.ExecuteContext(ctx)
	if err != nil {
		cli.PrintError(sys, err)
	}
	return ran{err, out.String(), says.String()}
}

// answer is an ExecCredential.
type answer struct {
	Kind, APIVersion string
	Spec             struct{ Interactive *bool }
	Status           struct {
		ExpirationTimestamp time.Time
		Token               string
	}
}

func (r ran) answer(t *testing.T) answer {
	t.Helper()
	var found answer
	if err := json.Unmarshal([]byte(r.out), &found); err != nil || r.err != nil || found.Status.Token == "" {
		t.Fatalf("%v %v\n%s%s", r.err, err, r.out, r.errors)
	}
	return found
}

// url is what the token holds.
func (a answer) url(t *testing.T) *url.URL {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(a.Status.Token, "k8s-aws-v1."))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := url.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// key is that of the credentials which signed.
func (a answer) key(t *testing.T) string {
	t.Helper()
	key, _, _ := strings.Cut(a.url(t).Query().Get("X-Amz-Credential"), "/")
	return key
}

// who is whose token it is.
func (w *world) who(r ran) string {
	w.t.Helper()
	key := r.answer(w.t).key(w.t)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.arns[key]
}

// openTerminal gives the process a terminal to be asked on.
func (w *world) openTerminal() {
	w.t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		w.t.Skipf("no terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		w.t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		w.t.Fatal(err)
	}
	terminal, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _, _ = keys.Close(), terminal.Close() })
	w.keys, w.terminal = keys, terminal
}

func (w *world) types(text string) {
	w.t.Helper()
	if _, err := w.keys.WriteString(text); err != nil {
		w.t.Fatal(err)
	}
}

// kept is what the files of the cache hold.
func (w *world) kept() string {
	w.t.Helper()
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(w.home, ".kube/cache/rolecall/*.json"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func same(a, b map[string]int) bool { return maps.Equal(a, b) }

// refused holds a failure to its form: a line that says what is wrong and what to do,
// nothing on standard output, and no secret.
func (r ran) refused(t *testing.T, kind fault.Kind, wants ...string) {
	t.Helper()
	if r.err == nil || fault.KindOf(r.err) != kind || r.out != "" {
		t.Errorf("%v (%d), printed %q", r.err, fault.KindOf(r.err), r.out)
	}
	line := r.errors[strings.Index(r.errors, "rolecall:"):]
	if kind != fault.Usage && (strings.Count(line, "\n") != 1 || !strings.Contains(line, "; try: ")) {
		t.Errorf("not a line:\n%s", r.errors)
	}
	for _, want := range wants {
		if !strings.Contains(r.errors, want) {
			t.Errorf("%q is not in:\n%s", want, r.errors)
		}
	}
	if strings.Contains(r.errors, secret) || strings.Contains(r.errors, "session-token") {
		t.Errorf("a secret is in:\n%s", r.errors)
	}
}

// ssoLogin is what `aws sso login` leaves.
func (w *world) ssoLogin(startURL string) {
	sum := sha1.Sum([]byte(startURL)) //nolint:gosec // the name of the file, by the SDK's rule
	w.write(".aws/sso/cache/"+hex.EncodeToString(sum[:])+".json",
		`{"accessToken":"sso-access","expiresAt":"2199-01-01T00:00:00Z"}`)
}
