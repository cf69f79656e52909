package manager

import (
	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long sent bytes may stay unacknowledged, in
// milliseconds (RFC 5482; tcp(7), TCP_USER_TIMEOUT). Keepalive alone does not
// see a dead peer while bytes are on their way to it.
func setUserTimeout(conn tcpConn, ms int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	// A kernel without the option finds the peer later, by its own limits.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
	})
}
