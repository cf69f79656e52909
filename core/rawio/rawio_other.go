//go:build !linux

package rawio

import "syscall"

// Available tells whether direct calls are made here.
const Available = false

// MaxBuffers is how many buffers Sendv takes.
const MaxBuffers = 64

// Send is not there.
func Send(int, []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Sendv is not there.
func Sendv(int, [][]byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Recv is not there.
func Recv(int, []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Descriptor finds none.
func Descriptor(any) int { return -1 }
