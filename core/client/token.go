package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"firetower/core/protocol"
)

// Authenticate brings the gateway a new token in the place of the one that the connection was made
// with, and returns when it has taken it. It does not wait for a connection: without one it is
// ErrNotConnected. A *RequestError says that the token is not good, and that the one before still
// holds. With Options.Token there is no need for it, unless the user's rights have changed.
func (c *Client) Authenticate(ctx context.Context, token string) error {
	l, err := c.up()
	if err != nil {
		return fmt.Errorf("client: authenticate: %w", err)
	}
	// One after the other, so that renew knows which token the gateway has.
	select {
	case l.authenticating <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("client: authenticate: %w", ctx.Err())
	}
	defer func() { <-l.authenticating }()
	if err := c.authenticate(ctx, l, token); err != nil {
		return err
	}
	select {
	case <-l.brought: // an older one that renew has not seen
	default:
	}
	l.brought <- token
	return nil
}

// authenticate does so on link l.
func (c *Client) authenticate(ctx context.Context, l *link, token string) error {
	f, err := c.ask(ctx, l, protocol.AuthenticateRequest, func(id string) []byte {
		frame, err := json.Marshal(request{Type: protocol.AuthenticateRequest, ID: id, Token: token})
		if err != nil { // strings always marshal
			panic(err)
		}
		return frame
	})
	if err != nil {
		return fmt.Errorf("client: authenticate: %w", err)
	}
	return f.result(protocol.AuthenticateRequest, "")
}

// header is what goes with a handshake, and the token in it, "" without Options.Token.
func (c *Client) header(ctx context.Context) (http.Header, string, error) {
	if c.opts.Token == nil {
		return c.opts.Header, "", nil
	}
	token, err := c.newToken(ctx)
	if err != nil {
		return nil, "", err
	}
	h := c.opts.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	h.Set("Authorization", "Bearer "+token)
	return h, token, nil
}

// newToken asks the application for a token.
func (c *Client) newToken(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.HandshakeTimeout)
	defer cancel()
	token, err := c.opts.Token(ctx)
	if err != nil {
		return "", fmt.Errorf("client: token: %w", err)
	}
	return token, nil
}

// errStale is for a token that is no newer than the one that it shall take the place of.
var errStale = errors.New("client: token: it does not last longer than the one before")

// renew brings link l a new token whenever the one before is about to expire, until ctx ends. While that
// fails it tries again with backoff. A gateway that takes no new one closes at the end of the old, and the
// next connection begins with another.
func (c *Client) renew(ctx context.Context, l *link, token string) {
	again := newBackoff(c.opts.BackoffMin, c.opts.BackoffMax)
	var r renewal
	wait := r.next(token, time.Now(), c.opts.BackoffMin)
	for {
		var due <-chan time.Time // never
		if wait > 0 {
			timer := time.NewTimer(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case token = <-l.brought:
			again.reset()
			wait = r.next(token, time.Now(), c.opts.BackoffMin)
			continue
		case <-due:
		}
		next, err := c.bringNew(ctx, l, &r)
		refused, answered := errors.AsType[*RequestError](err)
		switch {
		case err == nil:
			again.reset()
			wait = next
		case answered && refused.Code != protocol.CodeUnauthorized && !refused.Temporary():
			return // this gateway takes no tokens
		default:
			wait = again.next(0)
			if left := time.Until(r.end); left > 0 { // not past the last moment
				wait = min(wait, left/2)
			}
			wait = max(wait, c.opts.BackoffMin)
		}
	}
}

// bringNew asks the application for a token, brings it to the gateway, and returns how long to wait with the next. A token
// that the application has brought meanwhile (Authenticate) is newer.
func (c *Client) bringNew(ctx context.Context, l *link, r *renewal) (wait time.Duration, err error) {
	token, err := c.newToken(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.HandshakeTimeout)
	defer cancel()
	select {
	case l.authenticating <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-l.authenticating }()
	select {
	case token = <-l.brought:
	default:
		if _, end, ok := lifetime(token); ok && !end.After(r.end) {
			return 0, errStale
		}
		if err := c.authenticate(ctx, l, token); err != nil {
			return 0, err
		}
	}
	return r.next(token, time.Now(), c.opts.BackoffMin), nil
}

// renewBefore is how long before a token's end its successor is brought at the latest; of a short
// life it is a quarter.
const renewBefore = time.Minute

// renewal plans when the successor of a token is to be brought.
type renewal struct {
	issued, end time.Time // of the last token, as it says
	short       bool      // by this clock it had less than half of its life left when it came
}

// next returns how long to wait after a token has come until its successor is brought: at least so long if the
// token lasts, and so that clients whose tokens end together do not come together. 0 is for ever: the end is not
// known.
func (r *renewal) next(token string, now time.Time, least time.Duration) time.Duration {
	issued, end, ok := lifetime(token)
	before := *r
	*r = renewal{issued: issued, end: end}
	if !ok {
		return 0
	}
	left, life := end.Sub(now), end.Sub(issued)
	known := !issued.IsZero() && life > 0
	r.short = left <= 0 || known && left < life/2
	switch {
	case known && now.Before(issued): // this clock is behind
		left = life
	case known && r.short && before.short && issued.After(before.issued): // it was made just now: this clock is ahead
		left = life
	case left <= 0 && before.short: // this clock is ahead, nobody knows by how much
		return 0
	case left <= 0: // the gateway's clock may leave it a moment
		return least
	}
	ahead := min(left/4, renewBefore)
	ahead += time.Duration(rand.Float64() * float64(ahead) / 2)
	return min(max(left-ahead, least), left)
}

// lifetime reads the claims iat and exp of a JSON Web Token (RFC 7519 section 4.1) without a look at its signature,
// which is for the gateway; issued may be zero. ok is false where there is no end, or the token is of another kind.
func lifetime(token string) (issued, expires time.Time, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, time.Time{}, false
	}
	var claims struct {
		Issued  float64  `json:"iat"`
		Expires *float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires == nil || *claims.Expires <= 0 || *claims.Expires > maxSeconds {
		return time.Time{}, time.Time{}, false
	}
	if claims.Issued > 0 && claims.Issued <= maxSeconds {
		issued = time.Unix(int64(claims.Issued), 0)
	}
	return issued, time.Unix(int64(*claims.Expires), 0), true
}

// maxSeconds is beyond every sensible time, and far from where a number of seconds overflows.
const maxSeconds = 1 << 40
