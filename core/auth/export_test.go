package auth

import "time"

// SetClock gives v another clock.
func SetClock(v *Verifier, now func() time.Time) {
	v.now = now
	v.looked.Store(now().UnixNano())
}

// SetNow is SetClock that leaves the last look at the files where it was.
func SetNow(v *Verifier, now func() time.Time) { v.now = now }
