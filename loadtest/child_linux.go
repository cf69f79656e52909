package loadtest

import "syscall"

// childAttributes makes a child die with this process, and keeps a Ctrl-C at the
// terminal from it, which goes to the foreground process group: the run decides
// in which order its processes stop.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
