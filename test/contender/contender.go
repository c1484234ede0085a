// Package contender runs the programs that a comparison puts under the same load,
// and says what each costs by the kernel's count.
//
// It makes no load and judges nothing. What a process costs is known on Linux only;
// it is zero elsewhere.
package contender

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Process is one of the compared.
type Process struct {
	Name string
	Cmd  *exec.Cmd
}

// Start starts it; until Stop it has to be there.
func (p *Process) Start() error {
	if err := p.Cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	return nil
}

// Stop kills it.
func (p *Process) Stop() {
	_ = p.Cmd.Process.Kill()
	_ = p.Cmd.Wait()
}

// Memory is what is resident, in KiB: the process's own, and pages of files,
// which other processes of the same program share.
type Memory struct{ Own, File int }

// String is in MiB: the sum, and in brackets both parts.
func (m Memory) String() string {
	return fmt.Sprintf("%.1f (%.1f + %.1f)", float64(m.Own+m.File)/1024, float64(m.Own)/1024, float64(m.File)/1024)
}

// Memory is that of a process that was started.
func (p *Process) Memory() (m Memory) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	for line := range strings.SplitSeq(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "RssAnon:":
			m.Own = kib
		case "RssFile:":
			m.File = kib
		}
	}
	return m
}

// CPU is the processor time of a process that was started, in user and in system
// mode; ticks are hundredths of a second.
func (p *Process) CPU() time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// FreePorts finds n loopback ports that nobody listens at now.
func FreePorts(n int) ([]string, error) {
	ports := make([]string, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
		if err != nil {
			return nil, err
		}
		defer func() { _ = listener.Close() }()
		if _, ports[i], err = net.SplitHostPort(listener.Addr().String()); err != nil {
			return nil, err
		}
	}
	return ports, nil
}
