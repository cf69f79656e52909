//go:build !linux

package manager

import "net"

// setUserTimeout is Linux's; elsewhere a dead legacy peer is found by the
// kernel's own retransmission limit.
func setUserTimeout(*net.TCPConn, int) {}

// rawDescriptor finds none, so that every packet is written by the link's writer.
func rawDescriptor(net.Conn) int { return -1 }

// rawSend is never called.
func rawSend(int, []byte) int { return 0 }
