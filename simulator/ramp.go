package simulator

import "time"

// ramp says how many connections may have been begun by now: an open plan, start + i/rate, like the publisher's.
type ramp struct {
	rate  float64 // per second; 0 is no limit
	start int64   // ns
}

// allowed is how many of the first n may have been begun at time now.
func (r ramp) allowed(now int64, n int) int {
	if r.rate == 0 {
		return n
	}
	return int(min(float64(n), 1+float64(now-r.start)/float64(time.Second)*r.rate))
}

// share splits n evenly over parts: what part i gets, the first parts one more when it does not come out even.
func share(n, parts, i int) int {
	s := n / parts
	if i < n%parts {
		s++
	}
	return s
}
