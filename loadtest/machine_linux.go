package loadtest

import "golang.org/x/sys/unix"

// openFilesLimit is the hard limit; Go raises the soft one to it at start.
func openFilesLimit() uint64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return r.Max
}
