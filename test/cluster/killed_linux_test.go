package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// holdVariable makes this test program one that starts a cluster and waits to
// be killed; it holds the folder of the programs.
const holdVariable = "CLUSTER_TEST_HOLD"

func TestMain(m *testing.M) {
	if programs := os.Getenv(holdVariable); programs != "" {
		hold(programs)
	}
	os.Exit(m.Run())
}

// hold prints the ids of the cluster's processes and waits.
func hold(programs string) {
	c, err := startUntilPortsAreFree(context.Background(), programs, os.Getenv("TMPDIR"), Options{}, freeAddress)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, p := range c.processes {
		fmt.Println(p.PID())
	}
	select {}
}

// TestKilled: a test that is killed runs no cleanup and leaves no process.
func TestKilled(t *testing.T) {
	t.Parallel()
	holder := exec.CommandContext(t.Context(), os.Args[0])
	holder.Env = append(os.Environ(), holdVariable+"="+programDir(t), "TMPDIR="+t.TempDir())
	output, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for lines := bufio.NewScanner(output); len(pids) < 2 && lines.Scan(); {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the holder says %q", lines.Text())
		}
		pids = append(pids, pid)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // says that it was killed
	if len(pids) != 2 {
		t.Fatalf("processes %v, want two", pids)
	}
	for _, pid := range pids {
		untilGone(t, pid)
	}
}

// untilGone waits for the kernel; a dead process that nobody has collected yet
// is gone.
func untilGone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// The state follows the name, which stands in brackets.
		_, state, _ := strings.Cut(string(status), ") ")
		if err != nil || strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("process %d is left: %s", pid, status)
		case <-ticker.C:
		}
	}
}
