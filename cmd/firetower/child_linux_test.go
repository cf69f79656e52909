package main

import "syscall"

// diesWithParent has the kernel end a child when the tests end in any way.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
