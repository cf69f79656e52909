//go:build !linux

package gateway

import (
	"net"
	"syscall"
)

// The direct calls are never made here: rawDescriptor and takeDescriptor find none, so that every
// write takes the flusher.

func rawDescriptor(any) int                { return -1 }
func takeDescriptor(net.Conn) (int, error) { return -1, syscall.ENOTSUP }
func closeDescriptor(int)                  {}
func shutdownWrite(int)                    {}
func limitUnsent(int, int)                 {}
