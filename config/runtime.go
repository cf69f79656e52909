package config

// Runtime is how Go's runtime is set in the process. Both services of a process share it.
type Runtime struct {
	// GCPercent is by how many per cent the heap may grow between two collections, as
	// GOGC; 0 collects only when MemoryLimit asks for it.
	GCPercent int
	// MemoryLimit is what the process tries to stay within, in bytes, as GOMEMLIMIT; 0
	// is no limit.
	MemoryLimit int
	// MaxProcs is on how many processors Go code runs at a time, as GOMAXPROCS; 0 leaves
	// it to the service.
	MaxProcs int
}

// runtimeKeys are the keys that both services have for Go's runtime.
func runtimeKeys(r *Runtime) []*key {
	return []*key{
		{
			path: "runtime.gcPercent", kind: KindInt, def: "100", to: &r.GCPercent, lo: 0, hi: 1 << 20, shared: true,
			doc: "By how many per cent the heap may grow over what is alive before garbage is collected, as GOGC, which wins where it is set. " +
				"More is less CPU for more memory. 0 collects only at runtime.memoryLimit.",
		},
		{
			path: "runtime.memoryLimit", kind: KindSize, def: "0B", to: &r.MemoryLimit, lo: 0, hi: 1 << 50, shared: true,
			doc: "The memory that the process tries to stay within by collecting more often, as GOMEMLIMIT, which wins where it is set. " +
				"Leave a tenth of what the machine or container gives to the kernel's side of the sockets. 0B is no limit.",
		},
		{
			path: "runtime.maxProcs", kind: KindInt, def: "0", to: &r.MaxProcs, lo: 0, hi: 1 << 10, shared: true,
			doc: "On how many processors Go code runs at a time, as GOMAXPROCS, which wins where it is set. " +
				"0 is all that the process has; a manager in a process of its own then runs on one for as long as that is enough, which saves waking the others.",
		},
	}
}

// leastMemoryLimit is below what a service needs with nothing to do.
const leastMemoryLimit = 16 * mib

// crossCheck refuses a limit that would have a service collect all the time, and memory
// that grows without end.
func (r *Runtime) crossCheck(l *loader) {
	switch {
	case r.MemoryLimit > 0 && r.MemoryLimit < leastMemoryLimit:
		l.problemWith("runtime.memoryLimit", "must be at least %s, or 0B for none; got %s",
			formatSize(leastMemoryLimit), formatSize(int64(r.MemoryLimit)))
	case r.MemoryLimit == 0 && r.GCPercent == 0:
		l.problemWith("runtime.memoryLimit", "must be at least %s when runtime.gcPercent is 0, or garbage is never collected; got 0B",
			formatSize(leastMemoryLimit))
	}
}
