//go:build !linux

package loadtest

import "syscall"

// childAttributes cannot tie a child's life to ours here; workers end with their
// standard input all the same.
func childAttributes() *syscall.SysProcAttr { return nil }
