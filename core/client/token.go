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
	if err := c.authenticate(ctx, l, token); err != nil {
		return err
	}
	select {
	case <-l.brought: // an older one that renew has not seen
	default:
	}
	select {
	case l.brought <- token:
	default: // another Authenticate was quicker
	}
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
	end, wait := c.renewal(token)
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
			end, wait = c.renewal(token)
			continue
		case <-due:
		}
		next, err := c.newToken(ctx)
		nextEnd, nextWait := c.renewal(next)
		if err == nil && !nextEnd.IsZero() && !nextEnd.After(end) {
			err = errStale
		}
		if err == nil {
			err = c.bring(ctx, l, next)
		}
		refused, answered := errors.AsType[*RequestError](err)
		switch {
		case err == nil:
			again.reset()
			end, wait = nextEnd, nextWait
		case answered && refused.Code != protocol.CodeUnauthorized && !refused.Temporary():
			return // this gateway takes no tokens
		default:
			wait = max(again.next(0), c.opts.BackoffMin)
		}
	}
}

// bring is authenticate that gives up on a gateway that does not answer.
func (c *Client) bring(ctx context.Context, l *link, token string) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.HandshakeTimeout)
	defer cancel()
	return c.authenticate(ctx, l, token)
}

// renewBefore is how long before a token's end its successor is brought at the latest; of a short
// life it is a quarter.
const renewBefore = time.Minute

// renewal returns the end of a token that has just come, as the token says it, and how long to wait before its
// successor is brought: clients whose tokens end together do not come together. 0 is for ever: nobody knows the
// end, or it has passed.
func (c *Client) renewal(token string) (end time.Time, wait time.Duration) {
	issued, end, ok := lifetime(token)
	if !ok {
		return time.Time{}, 0
	}
	now := time.Now()
	life := end.Sub(now)
	if !issued.IsZero() && (now.Before(issued) || now.After(end)) {
		life = end.Sub(issued) // this clock, or the other one, is wrong
	}
	if life <= 0 {
		return end, 0
	}
	before := min(life/4, renewBefore)
	before += time.Duration(rand.Float64() * float64(before) / 2)
	return end, max(life-before, c.opts.BackoffMin)
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
