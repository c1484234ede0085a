package cluster

import "syscall"

// dieWithParent has the kernel kill the program when the test's process is
// killed and runs no cleanup.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
