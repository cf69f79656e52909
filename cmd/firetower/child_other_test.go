//go:build !linux

package main

import "syscall"

// diesWithParent does what it can: the test's cleanup ends the child.
func diesWithParent() *syscall.SysProcAttr { return nil }
