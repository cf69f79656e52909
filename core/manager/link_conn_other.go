//go:build !linux

package manager

import "net"

// setUserTimeout is Linux's; elsewhere a dead legacy peer is found by the
// kernel's own retransmission limit.
func setUserTimeout(*net.TCPConn, int) {}
