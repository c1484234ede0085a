package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/rolecall/rolecall/internal/app"
)

// This binary is other programs, too, when these say so.
const (
	programVariable = "ROLECALL_TEST_PROGRAM"
	clockVariable   = "ROLECALL_TEST_CLOCK" // file: how far the clock is ahead
)

// TestMain lets tests run this binary as rolecall, or as what runs in a pod.
func TestMain(m *testing.M) {
	switch os.Getenv(programVariable) {
	case "rolecall":
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
		os.Exit(runRolecall())
	case "command":
		os.Exit(runRolecall())
	case "pod":
		os.Exit(runPod(context.Background(), os.Args[1:]))
	}
	// Most of their time they wait, for the API server and for intervals to pass. The
	// command line, which is parsed later, says otherwise where it must.
	_ = flag.Set("test.parallel", "4")
	os.Exit(m.Run())
}

// runRolecall is cmd/rolecall, on a clock that the test can move. As a server it ends
// when the test does, however that comes about; as a command it has its standard input.
func runRolecall() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	system := app.NewSystem()
	if file := os.Getenv(clockVariable); file != "" {
		system.Now = func() time.Time {
			text, _ := os.ReadFile(file)
			ahead, _ := time.ParseDuration(string(text)) // none if there is none
			return time.Now().Add(ahead)
		}
	}
	return app.Run(ctx, system, os.Args[1:])
}

// podReport is what a pod's program found out.
type podReport struct {
	ARN     string            `json:"arn"`
	Problem string            `json:"problem"`
	Read    map[string]string `json:"read"` // parameters; "" if it may, else the code of the refusal
}

// runPod is a program with the SDK for Go, which finds its credentials as every
// program does: by the environment. It reads parameters.
func runPod(ctx context.Context, parameters []string) int {
	report := podReport{Read: map[string]string{}}
	loaded, err := config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(1))
	if err == nil {
		var who *sts.GetCallerIdentityOutput
		if who, err = sts.NewFromConfig(loaded).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err == nil {
			report.ARN = aws.ToString(who.Arn)
		}
	}
	if err != nil {
		report.Problem = err.Error()
	} else {
		client := ssm.NewFromConfig(loaded)
		for _, name := range parameters {
			_, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
			code := ""
			if refused, ok := errors.AsType[smithy.APIError](err); ok {
				code = refused.ErrorCode()
			} else if err != nil {
				code = err.Error()
			}
			report.Read[name] = code
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return 1
	}
	return 0
}

// program is rolecall in a process of its own.
type program struct {
	process     *os.Process
	stdout, log output
	ended       chan int
	clock       string // file
}

// output is the file that a process writes to. Its text is there as soon as it was
// written, which that of a pipe is not.
type output string

func (o output) String() string {
	text, err := os.ReadFile(string(o))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// startProgram runs rolecall with nothing of this process's environment but what
// is given.
func startProgram(t *testing.T, environment []string, arguments ...string) *program {
	t.Helper()
	dir := t.TempDir()
	p := &program{
		stdout: output(filepath.Join(dir, "stdout")),
		log:    output(filepath.Join(dir, "log")),
		ended:  make(chan int, 1),
		clock:  filepath.Join(dir, "clock"),
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self, arguments...)
	command.Env = append([]string{
		programVariable + "=rolecall", clockVariable + "=" + p.clock, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}, environment...)
	stdout, err := os.Create(string(p.stdout))
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	log, err := os.Create(string(p.log))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command.Stdout, command.Stderr = stdout, log
	if _, err := command.StdinPipe(); err != nil { // open as long as this process is there
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = command.Process
	done := make(chan struct{})
	go func() {
		_ = command.Wait()
		p.ended <- command.ProcessState.ExitCode()
		close(done)
	}()
	t.Cleanup(func() {
		_ = p.process.Kill()
		<-done
		if t.Failed() {
			t.Logf("rolecall %s\n%s%s", strings.Join(arguments[:2], " "), p.stdout, p.log)
		}
	})
	return p
}

// ahead moves the program's clock.
func (p *program) ahead(t *testing.T, by time.Duration) {
	t.Helper()
	if err := errors.Join(
		os.WriteFile(p.clock+".new", []byte(by.String()), 0o600), os.Rename(p.clock+".new", p.clock),
	); err != nil {
		t.Fatal(err)
	}
}

// stop asks it to end, and returns the exit code.
func (p *program) stop(t *testing.T) int {
	t.Helper()
	if err := p.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return <-p.ended
}

// kill ends it as a crash does.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

// cable is a connection between two programs that can be cut.
type cable struct {
	listener net.Listener
	to       string

	mu   sync.Mutex
	cut  bool
	open map[net.Conn]bool
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: listener, to: to, open: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { c.pass(t.Context(), from) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); c.set(true); running.Wait() })
	return c
}

func (c *cable) address() string { return c.listener.Addr().String() }

// set cuts it, with all that is open, or joins it again.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for connection := range c.open {
		if cut {
			_ = connection.Close()
		}
	}
}

func (c *cable) hold(connection net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = connection.Close()
		return false
	}
	c.open[connection] = true
	return true
}

func (c *cable) drop(connection net.Conn) {
	_ = connection.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, connection)
}

func (c *cable) pass(ctx context.Context, from net.Conn) {
	if !c.hold(from) {
		return
	}
	defer c.drop(from)
	var dialer net.Dialer
	to, err := dialer.DialContext(ctx, "tcp", c.to)
	if err != nil || !c.hold(to) {
		return
	}
	defer c.drop(to)
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(to, from); _ = to.Close() })
	both.Go(func() { _, _ = io.Copy(from, to); _ = from.Close() })
	both.Wait()
}
