package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
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
	return c.authenticate(ctx, nil, token)
}

// authenticate does so on link l, nil for the one that is up.
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
	token, err := c.opts.Token(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("client: token: %w", err)
	}
	h := c.opts.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	h.Set("Authorization", "Bearer "+token)
	return h, token, nil
}

// renewBefore is how long before a token's end its successor is brought at the latest; of a short
// life it is a quarter.
const renewBefore = time.Minute

// renew brings link l a new token whenever the one before is about to expire, until ctx ends. A gateway
// that takes no new one closes at the end of the old, and the next connection begins with another.
func (c *Client) renew(ctx context.Context, l *link, token string) {
	again := newBackoff(c.opts.BackoffMin, c.opts.BackoffMax)
	for {
		end, ok := expiry(token)
		if !ok {
			return
		}
		life := time.Until(end)
		if !sleep(ctx, life-min(life/4, renewBefore)) {
			return
		}
		next, err := c.opts.Token(ctx)
		if err == nil {
			err = c.authenticate(ctx, l, next)
		}
		if _, refused := errors.AsType[*RequestError](err); refused {
			return
		}
		if err != nil {
			if time.Now().After(end) || !sleep(ctx, again.next(0)) {
				return
			}
			continue // with the old token's end
		}
		again.reset()
		token = next
	}
}

// sleep waits, and reports false when ctx ends meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// expiry reads the claim exp of a JSON Web Token (RFC 7519 section 4.1.4) without a look at its signature,
// which is for the gateway. ok is false where there is none, or the token is of another kind.
func expiry(token string) (end time.Time, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expires *float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires == nil || *claims.Expires > 1<<40 || *claims.Expires < 0 {
		return time.Time{}, false
	}
	return time.Unix(int64(*claims.Expires), 0), true
}
