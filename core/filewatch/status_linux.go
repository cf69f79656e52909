package filewatch

import (
	"os"
	"syscall"
	"time"
)

// statusTime is when the file's content, name or permissions were changed last, in ns since 1970.
func statusTime(info os.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Unix()).UnixNano()
	}
	return 0
}
