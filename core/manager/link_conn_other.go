//go:build !linux

package manager

// setUserTimeout is Linux's; elsewhere a dead legacy peer is found by the
// kernel's own retransmission limit.
func setUserTimeout(tcpConn, int) {}
