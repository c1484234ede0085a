//go:build unix

package pages

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Shell runs a script in a folder until it ends or ctx does. Nothing that it has started
// outlives it.
func Shell(ctx context.Context, dir string, environment []string, script string, stdout, stderr io.Writer) error {
	shell := exec.CommandContext(ctx, "sh", "-c", script)
	shell.Dir, shell.Env, shell.Stdout, shell.Stderr = dir, environment, stdout, stderr
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.WaitDelay = time.Second
	if err := shell.Start(); err != nil {
		return err
	}
	err := shell.Wait()
	_ = syscall.Kill(-shell.Process.Pid, syscall.SIGTERM) // servers of a script that failed
	return err
}

// Environment has nothing of the user's but what finds programs, those of dir/bin first.
func Environment(dir string) []string {
	environment := []string{
		"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir,
		"TMPDIR=" + dir, "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
	}
	for _, name := range []string{"PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV"} {
		if value, found := os.LookupEnv(name); found {
			environment = append(environment, name+"="+value)
		}
	}
	return environment
}
