package client_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"firetower/core/client"
	"firetower/core/protocol"
)

// tokenUntil is a token of which the client can read the end and nobody the signature.
func tokenUntil(end time.Time, name string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d,"sub":%q}`, end.Unix(), name)) + ".x"
}

func (s *stub) seenTokens() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tokens)
}

func TestTokenIsNewForEachConnection(t *testing.T) {
	s, l := newStub(t), &log{}
	o := options(s, l)
	o.Header = http.Header{"X-App": {"1"}}
	var n atomic.Int64
	o.Token = func(context.Context) (string, error) { return fmt.Sprint("token-", n.Add(1)), nil }
	dial(t, o)
	s.connected()
	s.closeWith(protocol.CloseExpired, "expired")
	wait(t, "another connection", func() bool { _, opened := s.count(); return opened == 2 })
	if got := s.seenTokens(); !slices.Equal(got, []string{"token-1", "token-2"}) {
		t.Errorf("tokens %v", got)
	}
	if len(o.Header) != 1 {
		t.Errorf("the caller's header is %v", o.Header)
	}
}

func TestTokenErrorIsAFailedAttempt(t *testing.T) {
	s := newStub(t)
	o := options(s, nil)
	mistake := errors.New("who are you")
	var n atomic.Int64
	o.Token = func(context.Context) (string, error) {
		if n.Add(1) < 3 {
			return "", mistake
		}
		return "t", nil
	}
	if _, err := client.Dial(within(t), o); !errors.Is(err, mistake) {
		t.Errorf("Dial: %v", err)
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	s.connected()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := s.seenTokens(); !slices.Equal(got, []string{"t"}) || n.Load() != 3 {
		t.Errorf("tokens %v of %d calls", got, n.Load())
	}
}

func TestTokenIsRenewedBeforeItsEnd(t *testing.T) {
	s, l := newStub(t), &log{}
	o := options(s, l)
	var n atomic.Int64
	// The first ends soon, the second is wanted twice since the first call fails, the third has no end.
	first := tokenUntil(time.Now().Add(2*time.Second), "first")
	o.Token = func(context.Context) (string, error) {
		switch n.Add(1) {
		case 1:
			return first, nil
		case 2:
			return "", errors.New("not now")
		default:
			return "endless", nil
		}
	}
	c := dial(t, o)
	wait(t, "the new token", func() bool { return slices.Equal(s.seenTokens(), []string{first, "endless"}) })
	if _, opened := s.count(); opened != 1 || n.Load() != 3 {
		t.Errorf("%d connections, %d calls", opened, n.Load())
	}
	if err := c.Publish(within(t), "t", []byte("1")); err != nil {
		t.Error(err)
	}
}

// A gateway that refuses the new token is not asked again and again: it closes at the old one's end.
func TestRefusedRenewalIsNotRepeated(t *testing.T) {
	s := newStub(t)
	o := options(s, nil)
	soon := time.Now().Add(time.Second)
	first, second := tokenUntil(soon, "first"), tokenUntil(soon, "second")
	s.badTokens = map[string]bool{second: true}
	var n atomic.Int64
	o.Token = func(context.Context) (string, error) {
		if n.Add(1) == 1 {
			return first, nil
		}
		return second, nil
	}
	dial(t, o)
	wait(t, "the second token", func() bool { return slices.Contains(s.seenTokens(), second) })
	s.closeWith(protocol.CloseExpired, "expired")
	wait(t, "another connection", func() bool { _, opened := s.count(); return opened == 2 })
	if got := s.seenTokens(); !slices.Equal(got, []string{first, second, second}) {
		t.Errorf("tokens %v", got)
	}
}

func TestHandshakeErrorSaysWhy(t *testing.T) {
	s := newStub(t)
	s.set(func(s *stub) { s.status = http.StatusUnauthorized })
	_, err := client.Dial(within(t), options(s, nil))
	var refused *client.HandshakeError
	if !errors.As(err, &refused) || refused.Reason != "stub" || err.Error() != "client: handshake refused with HTTP status 401: stub" {
		t.Errorf("%v", err)
	}
}

func TestAuthenticate(t *testing.T) {
	s := newStub(t)
	s.badTokens = map[string]bool{"bad": true}
	c := dial(t, options(s, nil))
	if err := c.Authenticate(within(t), "good"); err != nil {
		t.Error(err)
	}
	var refused *client.RequestError
	err := c.Authenticate(within(t), "bad")
	if !errors.As(err, &refused) || refused.Code != protocol.CodeUnauthorized || refused.Temporary() {
		t.Errorf("a bad token: %v", err)
	}
	if want := "client: authenticate: unauthorized: stub"; err == nil || err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	idle, err := client.New(options(s, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Authenticate(within(t), "good"); !errors.Is(err, client.ErrNotConnected) {
		t.Errorf("without a connection: %v", err)
	}
}
