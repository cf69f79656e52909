package client_test

import (
	"strings"
	"testing"
)

// A client with compression offers it, takes what comes compressed and publishes compressed; one without
// offers nothing.
func TestCompression(t *testing.T) {
	for name, on := range map[string]bool{"on": true, "off": false} {
		t.Run(name, func(t *testing.T) {
			s, l := newStub(t), &log{}
			o := options(s, l)
			o.Compression = on
			c := dial(t, o)
			if err := c.Subscribe(within(t), "t", l.message); err != nil {
				t.Fatal(err)
			}
			data := `"` + strings.Repeat("compressible ", 500) + `"`
			if err := c.Publish(within(t), "t", []byte(data)); err != nil { // the stub pushes it, compressed where it may
				t.Fatal(err)
			}
			wait(t, "the message", func() bool { return l.has("t=" + data) })
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, offer := range s.offers {
				if strings.HasPrefix(offer, "permessage-deflate") != on {
					t.Errorf("offered %q", offer)
				}
			}
			if len(s.offers) == 0 {
				t.Error("no handshake was seen")
			}
		})
	}
}

// MaxMessageBytes is the size of a message, not of its compressed form.
func TestInflatedMessageAboveTheLimitEndsTheConnection(t *testing.T) {
	s, l := newStub(t), &log{}
	o := options(s, l)
	o.Compression, o.MaxMessageBytes = true, 1000
	c := dial(t, o)
	if err := c.Subscribe(within(t), "t", l.message); err != nil {
		t.Fatal(err)
	}
	s.push("t", strings.Repeat("1", 900))
	s.push("t", strings.Repeat("1", 2000)) // a few bytes on the wire
	wait(t, "another connection", func() bool { return l.has("<resumed>") })
	if !l.has("t=" + strings.Repeat("1", 900)) {
		t.Error("the message below the limit is missing")
	}
	if l.has("t=" + strings.Repeat("1", 2000)) {
		t.Error("the message above the limit was handed on")
	}
}
