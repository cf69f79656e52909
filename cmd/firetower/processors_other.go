//go:build !linux

package main

// readThreadTimes knows nothing on this system.
func readThreadTimes() (t threadTimes, ok bool) { return t, false }
