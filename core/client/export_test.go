package client

import (
	"encoding/json"
	"time"
)

// Waits draws n waits of a backoff with the given random numbers.
func Waits(first, limit time.Duration, n int, random func() float64) []time.Duration {
	b := newBackoff(first, limit)
	b.random = random
	waits := make([]time.Duration, n)
	for i := range waits {
		waits[i] = b.next(0)
	}
	return waits
}

// ParsePush reads a push frame: its topic and what was published.
func ParsePush(data []byte) (topic string, published []byte, push bool, err error) {
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		return "", nil, false, err
	}
	published, err = f.published()
	return f.Topic, published, f.isPush(), err
}

// RetryHint exports retryHint.
var RetryHint = retryHint

// RetryAfter exports retryAfter.
var RetryAfter = retryAfter

// Renewal is how long a client whose shortest wait is a second waits after the last of tokens that come now, one after
// the other.
func Renewal(now time.Time, tokens ...string) (wait time.Duration) {
	var r renewal
	for _, token := range tokens {
		wait = r.next(token, now, time.Second)
	}
	return wait
}
