package simulator

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// tuneSocket prepares a socket before it is bound.
func tuneSocket(raw syscall.RawConn, receiveBuffer int) error {
	var err error
	control := func(fd uintptr) { err = tuneDescriptor(int(fd), receiveBuffer) }
	if controlErr := raw.Control(control); controlErr != nil {
		return controlErr
	}
	return err
}

// tuneDescriptor lets the kernel choose the port when the destination is known, not at bind: ports are then counted
// per destination, and 10,000 connections from one address do not collide. A receive buffer of 0 is the kernel's.
func tuneDescriptor(fd, receiveBuffer int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	if receiveBuffer == 0 {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
}
