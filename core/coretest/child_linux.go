package coretest

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the child end when the test's process does, however that ends.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
