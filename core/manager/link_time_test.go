package manager_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// These run on the bubble's clock, so the times are exact. A net.Pipe has
// deadlines, and no buffer: a write takes as long as its reader.

// pipeLink links a gateway by a pipe. done is closed when the manager's end is through.
func pipeLink(t *testing.T, b manager.Bucket) (g *fakeGateway, done chan struct{}) {
	t.Helper()
	ours, theirs := net.Pipe()
	done = make(chan struct{})
	go func() {
		defer close(done)
		b.Serve(theirs)
	}()
	return &fakeGateway{t: t, conn: ours, in: protocol.NewReader(ours, 0), done: make(chan struct{})}, done
}

func quietOptions() manager.Options {
	opt := manager.DefaultOptions()
	opt.Logger = slog.New(slog.DiscardHandler)
	return opt
}

// TestU4_16_SilentLinkEndsAfterTwoHeartbeats of the default 5 s.
func TestU4_16_SilentLinkEndsAfterTwoHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manager.NewBucket(quietOptions())
		g, done := pipeLink(t, b)
		g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}, topics: map[string]int64{"room": 1}})
		g.conn.SetReadDeadline(time.Time{})
		go io.Copy(io.Discard, g.conn) // it reads, and says nothing more
		for range 3 {
			time.Sleep(9 * time.Second) //nolint:forbidigo // the bubble's clock
			if err := g.send(protocol.HeartbeatPacket()); err != nil {
				t.Fatalf("ended although heartbeats came: %v", err)
			}
		}
		last := time.Now()
		<-done
		if silent := time.Since(last); silent != 10*time.Second || b.Evictions(manager.EvictHeartbeat) != 1 {
			t.Fatalf("ended after %v of silence, want 10s", silent)
		}
		if s := b.State("gw"); s != "detached" {
			t.Fatalf("state = %q, want detached", s)
		}
	})
}

func TestLink_HeartbeatsGoOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manager.NewBucket(quietOptions())
		g, done := pipeLink(t, b)
		g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}})
		g.beat(time.Second)
		for range 5 {
			before := time.Now()
			p, err := g.next()
			if err != nil || p.Type != protocol.HeartbeatKey {
				t.Fatalf("%v, %v, want a heartbeat", p.Type, err)
			}
			if d := time.Since(before); d != 5*time.Second {
				t.Fatalf("a heartbeat after %v, want 5s", d)
			}
		}
		close(g.done)
		g.conn.Close()
		<-done
	})
}

// TestLink_SlowIsNotStuck: a write may take as long as it needs while the peer
// takes anything at all, and ends soon after it has stopped.
func TestLink_SlowIsNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := quietOptions()
		opt.Heartbeat = 1000 * time.Hour
		b := manager.NewBucket(opt)
		g, done := pipeLink(t, b)
		g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}, topics: map[string]int64{"room": 1}})
		body := bytes.Repeat([]byte("x"), 2000)
		for range 2 {
			if _, queued, err := b.Publish("room", body); queued != 1 || err != nil {
				t.Fatalf("queued %d, %v", queued, err)
			}
		}
		one := make([]byte, 1)
		var got []byte
		g.conn.SetReadDeadline(time.Time{})
		for len(got) < 3000 {
			time.Sleep(4 * time.Second) //nolint:forbidigo // the bubble's clock; WriteTimeout is 5s
			if _, err := g.conn.Read(one); err != nil {
				t.Fatalf("ended after %d bytes: %v", len(got), err)
			}
			got = append(got, one[0])
		}
		p, _, err := protocol.Depack(got, 0)
		if err != nil || !bytes.Equal(p.Body, body) {
			t.Fatalf("the message came damaged: %v", err)
		}
		last := time.Now()
		<-done
		if stuck := time.Since(last); stuck < 5*time.Second || stuck > 10*time.Second || b.Evictions(manager.EvictWriteTimeout) != 1 {
			t.Fatalf("ended after %v without progress, want one to two times 5s", stuck)
		}
	})
}

func TestLink_HandshakeIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name string
		say  func(g *fakeGateway, talking *sync.WaitGroup)
	}{
		{"nothing", func(*fakeGateway, *sync.WaitGroup) {}},
		{"half a packet", func(g *fakeGateway, _ *sync.WaitGroup) { g.conn.Write([]byte(protocol.Magic)) }},
		{"a hello without a snapshot", func(g *fakeGateway, _ *sync.WaitGroup) {
			g.sendControl(protocol.HelloKey, &topicpb.LinkHello{ClusterId: "gw", Epoch: 1, Token: "token"})
		}},
		{"a snapshot that never ends", func(g *fakeGateway, talking *sync.WaitGroup) {
			g.sendControl(protocol.HelloKey, &topicpb.LinkHello{ClusterId: "gw", Epoch: 1, Token: "token"})
			talking.Go(func() {
				for g.sendControl(protocol.SnapshotKey, &topicpb.LinkSnapshot{}) == nil {
					time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
				}
			})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opt := quietOptions()
				opt.Token = "token"
				b := manager.NewBucket(opt)
				begin := time.Now()
				g, done := pipeLink(t, b)
				var talking sync.WaitGroup
				tc.say(g, &talking)
				refuse := g.awaitClosed()
				<-done
				took := time.Since(begin)
				talking.Wait()
				if took != 10*time.Second || b.Evictions(manager.EvictHandshakeTimeout) != 1 {
					t.Fatalf("ended after %v with %v, want 10s", took, refuse)
				}
				if s := b.State("gw"); s != "" {
					t.Fatalf("a gateway that was never welcomed is listed as %q", s)
				}
			})
		})
	}
}

// TestLink_GraceIsTwiceTheHeartbeat: topics outlive the link that long, and no longer.
func TestLink_GraceIsTwiceTheHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manager.NewBucket(quietOptions())
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go b.CheckHeartbeat(ctx)
		g, done := pipeLink(t, b)
		g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}, topics: map[string]int64{"room": 3}})
		g.conn.Close()
		<-done
		for range 9 {
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
			if matched, queued, err := b.Publish("room", nil); matched != 1 || queued != 0 || err != nil {
				t.Fatalf("within the grace: matched %d, queued %d, %v", matched, queued, err)
			}
		}
		time.Sleep(3 * time.Second) //nolint:forbidigo // the bubble's clock: 12 s, grace 10 s and the sweep's tick
		if s, n := b.State("gw"), b.Subscribers("room"); s != "" || n != 0 {
			t.Fatalf("after the grace: state %q, %d subscribers", s, n)
		}
	})
}

// TestLink_SilentLegacyGateway is kept, for ever, and gets its messages.
func TestLink_SilentLegacyGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manager.NewBucket(quietOptions())
		g, done := pipeLink(t, b)
		beats := 0
		for begin := time.Now(); time.Since(begin) < time.Hour; {
			p, err := g.next()
			if err != nil || p.Type != protocol.HeartbeatKey {
				t.Fatalf("after %v: %v, %v", time.Since(begin), p.Type, err)
			}
			beats++
		}
		if beats < 700 {
			t.Fatalf("%d heartbeats in an hour", beats)
		}
		g.conn.Close()
		<-done
		if _, err := g.next(); !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
	})
}
