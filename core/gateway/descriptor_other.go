//go:build !linux

package gateway

import (
	"net"
	"syscall"
)

// The direct calls are never made here: takeDescriptor finds none, so that every
// write takes the flusher.

func takeDescriptor(net.Conn) (int, error) { return -1, syscall.ENOTSUP }
func closeDescriptor(int)                  {}
func shutdownWrite(int)                    {}
func limitUnsent(int, int)                 {}
