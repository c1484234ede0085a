package program

import "syscall"

// dieWithParent has the kernel kill the program when this process is
// killed and runs no cleanup.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
