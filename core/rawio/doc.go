// Package rawio makes the system calls of a socket that never wait without telling the Go
// scheduler, and knows nothing of what is sent.
//
// An ordinary system call is announced to the scheduler, since it may block. That costs up to
// a microsecond of a write of some four when several writers run; and where a process is
// mostly idle each announcement wakes the runtime's monitor thread (sysmon), which then looks
// around every 20 us for a while: at 2,000 small messages a second that was a seventh of a
// manager. A call on a non-blocking descriptor needs none of it.
package rawio
