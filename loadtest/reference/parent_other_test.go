//go:build !linux

package reference_test

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
