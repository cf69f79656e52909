// Package scenarios owns the questions that a load test asks: the strict,
// versioned TOML format of a scenario, its units, its thresholds, and the
// catalogue that ships inside the binary.
//
// It must not know how a scenario is carried out, and so imports no other
// package of the project: no sockets, no processes, no result. What a file says
// is checked here as far as the file alone can tell; whether this machine can
// carry it out is the plan's business (package loadtest).
//
// The format has one table of keys (keys.go). Decoding, the errors with file,
// line and "did you mean", the printing of a resolved scenario and overrides by
// key are all driven by it, so that a key cannot be known to one and unknown to
// another.
package scenarios
