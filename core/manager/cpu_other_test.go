//go:build !linux

package manager_test

import "time"

// processCPU is not known here.
func processCPU() time.Duration { return 0 }
