//go:build !linux

package program

import "syscall"

// dieWithParent: only Linux has it; elsewhere a killed process leaves its programs.
func dieWithParent() *syscall.SysProcAttr { return nil }
