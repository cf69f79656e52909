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

// tokens returns the tokens one after the other, and the last for ever.
func tokens(all ...string) (next func(context.Context) (string, error), calls *atomic.Int64) {
	calls = new(atomic.Int64)
	return func(context.Context) (string, error) { return all[min(int(calls.Add(1)), len(all))-1], nil }, calls
}

// A token that the gateway refuses may be followed by a better one.
func TestRefusedRenewalIsRepeated(t *testing.T) {
	s := newStub(t)
	o := options(s, nil)
	first, bad, good := tokenUntil(time.Now().Add(2*time.Second), "first"), tokenUntil(time.Now().Add(time.Hour), "bad"), tokenUntil(time.Now().Add(time.Hour), "good")
	s.badTokens = map[string]bool{bad: true}
	o.Token, _ = tokens(first, bad, bad, good)
	dial(t, o)
	wait(t, "the good token", func() bool { return slices.Equal(s.seenTokens(), []string{first, bad, bad, good}) })
	if _, opened := s.count(); opened != 1 {
		t.Errorf("%d connections", opened)
	}
}

// What lasts no longer is not brought, and asking for better has pauses.
func TestStaleTokenIsNotBrought(t *testing.T) {
	s := newStub(t)
	o := options(s, nil)
	first := tokenUntil(time.Now().Add(2*time.Second), "first")
	o.BackoffMin, o.BackoffMax = 100*time.Millisecond, 200*time.Millisecond
	var calls *atomic.Int64
	began := time.Now()
	o.Token, calls = tokens(first)
	dial(t, o)
	wait(t, "some calls", func() bool { return calls.Load() >= 4 })
	if most := int64(time.Since(began)/o.BackoffMin) + 2; calls.Load() > most {
		t.Errorf("%d calls in %v", calls.Load(), time.Since(began))
	}
	if got := s.seenTokens(); !slices.Equal(got, []string{first}) {
		t.Errorf("tokens %v", got)
	}
}

func TestGatewayWithoutTokensIsAskedOnce(t *testing.T) {
	s := newStub(t)
	s.noTokens = true
	o := options(s, nil)
	first := tokenUntil(time.Now().Add(2*time.Second), "first")
	var calls *atomic.Int64
	o.Token, calls = tokens(first, tokenUntil(time.Now().Add(time.Hour), "second"))
	c := dial(t, o)
	wait(t, "the second token", func() bool { return len(s.seenTokens()) == 2 })
	for range 300 { // more than enough for another renewal
		if err := c.Publish(within(t), "t", []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
}

// A token that Authenticate has brought is the one whose end counts.
func TestRenewalGoesByTheLastToken(t *testing.T) {
	s := newStub(t)
	o := options(s, nil)
	first, short, third := tokenUntil(time.Now().Add(time.Hour), "first"), tokenUntil(time.Now().Add(2*time.Second), "short"), tokenUntil(time.Now().Add(time.Hour), "third")
	o.Token, _ = tokens(first, third)
	c := dial(t, o)
	if err := c.Authenticate(within(t), short); err != nil {
		t.Fatal(err)
	}
	wait(t, "the third token", func() bool { return slices.Equal(s.seenTokens(), []string{first, short, third}) })
}

func TestUnauthorizedIsFinalWithoutANewToken(t *testing.T) {
	s := newStub(t)
	s.set(func(s *stub) { s.status = http.StatusUnauthorized })
	o := options(s, nil)
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var refused *client.HandshakeError
	if err := c.Run(within(t)); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("without Token: %v", err)
	}
	var calls *atomic.Int64
	o.Token, calls = tokens("old", "old", "new")
	if c, err = client.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	wait(t, "two attempts", func() bool { return calls.Load() >= 2 })
	s.set(func(s *stub) { s.status = 0 })
	s.connected()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTokenOfAnotherClock(t *testing.T) {
	claims := func(text string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(text)) + ".x"
	}
	now := time.Unix(1_800_000_000, 400_000_000) // tokens have whole seconds
	life := func(issued, end time.Duration) string {
		return claims(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Add(issued).Unix(), now.Add(end).Unix()))
	}
	until := func(end time.Duration) string { return claims(fmt.Sprintf(`{"exp":%d}`, now.Add(end).Unix())) }
	const m = time.Minute
	for _, row := range []struct {
		name        string
		tokens      []string
		least, most time.Duration
	}{
		{"an hour", []string{life(0, time.Hour)}, 58 * m, 59 * m},
		{"an old one of an hour", []string{life(-50*m, 10*m)}, 8 * m, 9 * m},
		{"a new one after an old one", []string{life(-50*m, 10*m), life(-m, 59*m)}, 57 * m, 58 * m},
		{"without iat", []string{until(time.Hour)}, 58 * m, 59 * m},
		{"a minute", []string{until(m)}, 36 * time.Second, 45 * time.Second},
		{"shorter than the shortest wait", []string{until(time.Second)}, 600 * time.Millisecond, 600 * time.Millisecond},
		{"five minutes, of a clock behind", []string{life(6*m, 11*m)}, 210 * time.Second, 240 * time.Second},
		{"over: another at once", []string{life(-6*m, -m)}, time.Second, time.Second},
		{"over again, and new: the clock is ahead", []string{life(-7*m, -2*m), life(-6*m, -m)}, 210 * time.Second, 240 * time.Second},
		{"over again, and the same: another at the next connection", []string{life(-6*m, -m), life(-6*m, -m)}, 0, 0},
		{"nearly over, twice, and new: the clock is ahead", []string{life(-298*time.Second, 2*time.Second), life(-297*time.Second, 3*time.Second)}, 210 * time.Second, 240 * time.Second},
		{"over, without iat", []string{until(-m)}, time.Second, time.Second},
		{"over again, without iat", []string{until(-2 * m), until(-m)}, 0, 0},
		{"no end", []string{claims(`{"iat":1}`)}, 0, 0},
		{"an end that is none", []string{claims(`{"exp":1e300}`)}, 0, 0},
		{"no claims", []string{"a.b.c"}, 0, 0},
		{"opaque", []string{"secret"}, 0, 0},
	} {
		if wait := client.Renewal(now, row.tokens...); wait < row.least || wait > row.most {
			t.Errorf("%s: renewed after %v, want %v to %v", row.name, wait, row.least, row.most)
		}
	}
}

// A token that comes while another is asked for is the newer one.
func TestAuthenticateDuringARenewal(t *testing.T) {
	s := newStub(t)
	o := options(s, nil)
	first, slow, mine, third := tokenUntil(time.Now().Add(2*time.Second), "first"), tokenUntil(time.Now().Add(time.Hour), "slow"),
		tokenUntil(time.Now().Add(3*time.Second), "mine"), tokenUntil(time.Now().Add(time.Hour), "third")
	var calls atomic.Int64
	asked, answer := make(chan struct{}), make(chan struct{})
	o.Token = func(context.Context) (string, error) {
		switch calls.Add(1) {
		case 1:
			return first, nil
		case 2:
			close(asked)
			<-answer
			return slow, nil
		default:
			return third, nil
		}
	}
	c := dial(t, o)
	<-asked
	if err := c.Authenticate(within(t), mine); err != nil {
		t.Fatal(err)
	}
	close(answer)
	wait(t, "the renewal of the newer one", func() bool { return slices.Equal(s.seenTokens(), []string{first, mine, third}) })
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
