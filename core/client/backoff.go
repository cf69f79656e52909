package client

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firetower/core/protocol"
)

// backoff draws waits with full jitter: evenly from [0, min(limit, first*2^n)] for the n-th.
type backoff struct {
	first, limit time.Duration
	n            int
	// random returns a number in [0, 1).
	random func() float64
}

func newBackoff(first, limit time.Duration) *backoff {
	return &backoff{first: first, limit: limit, random: rand.Float64}
}

// next returns the next wait, at least as long as the server asked for.
func (b *backoff) next(asked time.Duration) time.Duration {
	ceiling := b.limit
	// Past 62 doublings first<<n is no number any more, and long before it is above the limit.
	if b.n < 62 && b.first <= b.limit>>b.n {
		ceiling = b.first << b.n
	}
	b.n++
	return asked + time.Duration(b.random()*float64(ceiling))
}

func (b *backoff) reset() { b.n = 0 }

// retryable tells whether a connection that failed or ended with err is worth another try, which has another token if
// tokens is true, and after what time at the earliest the server asks for it.
func retryable(err error, tokens bool) (ok bool, asked time.Duration) {
	if closed, ok := errors.AsType[*CloseError](err); ok {
		return protocol.ShouldReconnect(closed.Code), retryHint(closed.Reason)
	}
	if refused, ok := errors.AsType[*HandshakeError](err); ok {
		switch refused.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return true, refused.RetryAfter
		case http.StatusUnauthorized:
			return tokens, refused.RetryAfter // the next one may be better: keys change, and clocks differ
		}
		// Anything else below 500 is a decision, or not a gateway at all.
		return refused.Status >= 500, refused.RetryAfter
	}
	return !errors.Is(err, ErrSubprotocol), 0
}

// maxAsked bounds what a server can ask for.
const maxAsked = 10 * time.Minute

// retryHint reads a close reason such as "retry_ms=1500": a word with the milliseconds that the
// gateway asks this client to wait. Whatever else the reason says is for people.
func retryHint(reason string) time.Duration {
	for _, word := range strings.FieldsFunc(reason, func(r rune) bool { return r == ' ' || r == ';' || r == ',' }) {
		if value, ok := strings.CutPrefix(word, "retry_ms="); ok {
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil && ms > 0 {
				return time.Duration(min(ms, maxAsked.Milliseconds())) * time.Millisecond
			}
		}
	}
	return 0
}

// retryAfter reads the header of that name, in seconds or as a date (RFC 9110 section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if at, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(at), 0), maxAsked)
	}
	seconds, err := strconv.Atoi(value)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 1<<20))*time.Second, maxAsked)
}
