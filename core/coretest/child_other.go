//go:build !linux

package coretest

import "os/exec"

// dieWithParent can be had on Linux only; elsewhere the test's cleanup ends the child.
func dieWithParent(*exec.Cmd) {}
