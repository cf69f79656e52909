//go:build linux

package uring

// Descriptor is that of a ring.
func Descriptor(r *Ring) int { return r.fd }
