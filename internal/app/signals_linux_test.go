package app_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// signalled is a program that writes down the signals and the lines that it gets, in
// the file it is given, and exits when a line says so.
func signalled() {
	log, err := os.OpenFile(os.Args[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	signals, lines := make(chan os.Signal, 8), make(chan string)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	fmt.Fprintln(log, "ready")
	for {
		select {
		case got := <-signals:
			fmt.Fprintln(log, got)
		case line := <-lines:
			fmt.Fprintln(log, line)
			if code, found := strings.CutPrefix(line, "exit "); found {
				number, _ := strconv.Atoi(code)
				os.Exit(number)
			}
		}
	}
}

// terminal is a program on a terminal of its own.
type terminal struct {
	t       *testing.T
	keys    *os.File
	program *exec.Cmd
	temp    string // where it makes its temporary files
	screen  *bytes.Buffer
	read    chan struct{}
}

// onTerminal starts rolecall as a shell does: it leads the foreground group of a
// terminal.
func onTerminal(t *testing.T, arguments ...string) *terminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	raw, err := keys.SyscallConn() // Fd would let Close wait for what is read
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var failed error
	if err := errors.Join(raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		if failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}), failed); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tty.Close() }()
	c := &terminal{t: t, keys: keys, temp: t.TempDir(), screen: &bytes.Buffer{}, read: make(chan struct{})}
	c.program = exec.CommandContext(t.Context(), "rolecall", arguments...)
	c.program.Stdin, c.program.Stdout, c.program.Stderr = tty, tty, tty
	c.program.Env = append(os.Environ(), "TMPDIR="+c.temp, "XDG_RUNTIME_DIR="+t.TempDir())
	c.program.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.program.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.read)
		_, _ = io.Copy(c.screen, keys) // until nobody has the terminal
	}()
	return c
}

func (c *terminal) press(keys string) {
	c.t.Helper()
	if _, err := io.WriteString(c.keys, keys); err != nil {
		c.t.Fatal(err)
	}
}

// exits waits for the end, and wants this code and nothing left behind.
func (c *terminal) exits(code int) {
	c.t.Helper()
	_ = c.program.Wait()
	if got := c.program.ProcessState.ExitCode(); got != code {
		c.t.Errorf("%v: code %d, want %d", c.program.Args, got, code)
	}
	left, err := os.ReadDir(c.temp)
	if err != nil || len(left) > 0 {
		c.t.Errorf("%v: left %v %v", c.program.Args, left, err)
	}
}

// until waits for what is certain to come.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: never came", what)
		}
	}
}

func logged(t *testing.T, file string, want ...string) {
	t.Helper()
	text := strings.Join(want, "\n") + "\n"
	until(t, strings.ReplaceAll(text, "\n", " "), func() bool {
		got, _ := os.ReadFile(file)
		return len(got) >= len(text)
	})
	if got, err := os.ReadFile(file); err != nil || string(got) != text {
		t.Fatalf("the program got %q %v, want %q", got, err, text)
	}
}

// TestRunSignals: what a terminal sends reaches the program once, and nothing but
// that; what is sent to us is passed on; the program decides when it ends.
func TestRunSignals(t *testing.T) {
	t.Parallel()
	const account = "default/s3-reader"
	log := filepath.Join(t.TempDir(), "log")
	c := onTerminal(t, "run", "--service-account", account, "--", "signalled", log)
	logged(t, log, "ready")
	for _, step := range []struct {
		do   func()
		want []string
	}{
		{func() { c.press("\x03") }, []string{"ready", "interrupt"}},
		{func() { c.press("\x03") }, []string{"ready", "interrupt", "interrupt"}},
		{func() { c.press("a line\n") }, []string{"ready", "interrupt", "interrupt", "a line"}},
		{func() { c.press("\x1c") }, []string{"ready", "interrupt", "interrupt", "a line", "quit"}},
		{
			func() { _ = c.program.Process.Signal(syscall.SIGTERM) },
			[]string{"ready", "interrupt", "interrupt", "a line", "quit", "terminated"},
		},
		{
			func() { _ = c.program.Process.Signal(syscall.SIGHUP) },
			[]string{"ready", "interrupt", "interrupt", "a line", "quit", "terminated", "hangup"},
		},
		{
			func() { c.press("exit 9\n") },
			[]string{"ready", "interrupt", "interrupt", "a line", "quit", "terminated", "hangup", "exit 9"},
		},
	} {
		step.do()
		logged(t, log, step.want...)
	}
	c.exits(9)
	logged(t, log, "ready", "interrupt", "interrupt", "a line", "quit", "terminated", "hangup", "exit 9")
}

// TestRunWithoutTerminal: where no terminal sends them, as in a container or a pipeline,
// signals of every kind that are sent to us alone reach the program, once.
func TestRunWithoutTerminal(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	program := exec.CommandContext(t.Context(), "rolecall", "run", "--service-account", "default/s3-reader", "--",
		"signalled", log)
	program.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "XDG_RUNTIME_DIR="+t.TempDir())
	program.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	lines, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	want := []string{"ready"}
	logged(t, log, want...)
	for _, got := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := program.Process.Signal(got); err != nil {
			t.Fatal(err)
		}
		want = append(want, got.String())
		logged(t, log, want...)
	}
	if _, err := io.WriteString(lines, "exit 9\n"); err != nil {
		t.Fatal(err)
	}
	if _ = program.Wait(); program.ProcessState.ExitCode() != 9 {
		t.Errorf("%v", program.ProcessState)
	}
	logged(t, log, append(want, "exit 9")...)
}

// TestRunEnds: a program that a signal ends, and what is left then.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		code int
		end  func(*terminal)
	}{
		"Ctrl-C":      {130, func(c *terminal) { c.press("\x03") }},
		"Ctrl-\\":     {131, func(c *terminal) { c.press("\x1c") }},
		"terminated":  {143, func(c *terminal) { _ = c.program.Process.Signal(syscall.SIGTERM) }},
		"hung up":     {129, func(c *terminal) { _ = c.program.Process.Signal(syscall.SIGHUP) }},
		"no terminal": {129, func(c *terminal) { _ = c.keys.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ready := filepath.Join(t.TempDir(), "ready")
			c := onTerminal(t, "run", "--service-account", "default/s3-reader", "--",
				"sh", "-c", "ulimit -c 0; echo ready >"+ready+"; exec sleep 1000")
			logged(t, ready, "ready")
			row.end(c)
			c.exits(row.code)
		})
	}
}

// TestDemoInterrupted: Ctrl-C ends the walk without a word about how.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	c := onTerminal(t, "demo")
	until(t, "the folder of the walk", func() bool {
		made, _ := os.ReadDir(c.temp)
		return len(made) > 0
	})
	c.press("\x03")
	c.exits(130)
	<-c.read
	if text := c.screen.String(); strings.Contains(text, "killed") || strings.Contains(text, "rolecall:") ||
		strings.Contains(text, "context") {
		t.Errorf("said %s", text)
	}
}

// TestBrokenPipes: who does not read on does not keep us from cleaning up.
func TestBrokenPipes(t *testing.T) {
	t.Parallel()
	run := []string{"run", "--service-account", "default/s3-writer", "--", "sh", "-c"}
	for _, row := range []struct {
		name      string
		arguments []string
		code      int
	}{
		{"a walk", []string{"demo"}, 141},
		{"a walk for programs", []string{"demo", "-o", "json"}, 141},
		{"a plane", []string{"up", "--listen", "127.0.0.1:0"}, 141},
		{"a program that is refused", append(run, "rolecall whoami >/dev/null 2>&1; exit 7"), 7},
		{"a program that prints", append(run, "while echo; do :; done"), 141},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			temp, state := t.TempDir(), t.TempDir()
			program := exec.CommandContext(t.Context(), "rolecall", row.arguments...)
			program.Stdout, program.Stderr = write, write
			program.Env = append(os.Environ(), "TMPDIR="+temp, "XDG_RUNTIME_DIR="+state)
			_ = read.Close()
			err = program.Start()
			_ = write.Close()
			if err != nil {
				t.Fatal(err)
			}
			_ = program.Wait()
			if got := program.ProcessState.ExitCode(); got != row.code {
				t.Errorf("%s: %v, want %d", row.name, program.ProcessState, row.code)
			}
			left, _ := os.ReadDir(temp)
			if _, err := os.Stat(filepath.Join(state, "rolecall", "up.json")); len(left) > 0 || err == nil {
				t.Errorf("%s: left %v, %v", row.name, left, err)
			}
		})
	}
}
