package protocol

// Sizes at which a Reader changes its ways, for tests to stand on both sides of.
const (
	ReadBuffer  = readBuffer
	TrustedSize = trustedSize
)
