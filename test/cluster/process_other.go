//go:build !linux

package cluster

import "syscall"

// dieWithParent: only Linux has it; elsewhere a killed test leaves its programs.
func dieWithParent() *syscall.SysProcAttr { return nil }
