//go:build !linux

package main

import "time"

// processDemand is not known on this system.
func processDemand() (wanted time.Duration, ok bool) { return 0, false }
