package clock

// Monotonic asks the kernel.
func Monotonic() (int64, error) { return monotonic() }
