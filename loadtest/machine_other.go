//go:build !linux

package loadtest

// openFilesLimit is not known here; the plan then checks nothing against it.
func openFilesLimit() uint64 { return 0 }
