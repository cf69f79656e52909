//go:build !linux

package rawio

// Ring does not exist here.
type Ring struct{}

// RingSize is to how many sockets one call of SendAll sends.
const RingSize = 32

// NewRing returns ErrNoRing.
func NewRing() (*Ring, error) { return nil, ErrNoRing }

// SendAll is never called.
func (r *Ring) SendAll([]int32, []byte, []int32) {}

// Close does nothing.
func (r *Ring) Close() {}
