// Package uring holds the queues of an io_uring (io_uring(7)): how they are mapped, filled, handed to the kernel and
// emptied. It knows nothing of what is asked for, nor what to do where there are none. It exists on Linux only.
package uring
