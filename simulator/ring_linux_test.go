package simulator_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"
	"golang.org/x/sys/unix"

	"firetower/simulator"
	"firetower/simulator/clock"
)

// A kernel without a ring that reads is no obstacle unless the ring was asked for.
func TestChooseEngine(t *testing.T) {
	fault := errors.New("no ring today")
	for _, tt := range []struct {
		name   string
		engine simulator.Engine
		url    string
		fault  error
		want   simulator.Engine
	}{
		{"auto", simulator.EngineAuto, "ws://127.0.0.1:1/", nil, simulator.EngineRing},
		{"auto without a ring", simulator.EngineAuto, "ws://127.0.0.1:1/", fault, simulator.EngineEpoll},
		{"auto with TLS", simulator.EngineAuto, "wss://127.0.0.1:1/", nil, simulator.EngineGoroutine},
		{"ring", simulator.EngineRing, "ws://127.0.0.1:1/", nil, simulator.EngineRing},
		{"ring without one", simulator.EngineRing, "ws://127.0.0.1:1/", fault, ""},
		{"epoll where there is a ring", simulator.EngineEpoll, "ws://127.0.0.1:1/", nil, simulator.EngineEpoll},
		{"goroutine without a ring", simulator.EngineGoroutine, "ws://127.0.0.1:1/", fault, simulator.EngineGoroutine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := simulator.DefaultConfig()
			config.Engine, config.URLs = tt.engine, []string{tt.url}
			got, err := simulator.ChooseEngine(config, tt.fault)
			if got != tt.want || (err != nil) != (tt.want == "") || err != nil && !errors.Is(err, fault) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func needsRing(t *testing.T) {
	t.Helper()
	if !slices.Contains(simulator.Engines(), simulator.EngineRing) {
		t.Skip("this kernel has no io_uring to read with")
	}
}

// socketPair is two ends of a stream, the second of which it closes after the test.
func socketPair(t *testing.T) (client, server int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	return pair[0], pair[1]
}

// Whatever waits in the sockets of a batch, each read says what recv would have: bytes in order up to its buffer, that there are
// none, the end, or the socket's error. Batches follow each other in one ring, full and not.
func TestRingReadsAsRecvDoes(t *testing.T) {
	needsRing(t)
	const size = 16
	r, err := simulator.NewRing(size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	properties(t, 50, "a batch reads as recv does", prop.ForAll(func(waiting []int, end []bool) string {
		var clients, servers []int
		defer func() {
			for _, fd := range append(clients, servers...) {
				unix.Close(fd)
			}
		}()
		written := make([]string, len(waiting))
		for i, n := range waiting {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				return err.Error()
			}
			clients, servers = append(clients, pair[0]), append(servers, pair[1])
			for k := range n {
				written[i] += string(rune('a' + (i+k)%26))
			}
			if n > 0 {
				if _, err := unix.Write(pair[1], []byte(written[i])); err != nil {
					return err.Error()
				}
			}
			if end[i] {
				if err := unix.Shutdown(pair[1], unix.SHUT_WR); err != nil {
					return err.Error()
				}
			}
		}
		for round := 0; ; round++ {
			for i, fd := range clients {
				if r.Add(fd) != (i == simulator.RingBatch-1) {
					return "full at another place"
				}
			}
			data, errs, err := r.Read()
			if err != nil || len(data) != len(clients) {
				return fmt.Sprintf("%d of %d: %v", len(data), len(clients), err)
			}
			left := false
			for i := range data {
				want := written[i][:min(len(written[i]), size)]
				var wantErr error
				if want == "" && !end[i] {
					wantErr = unix.EAGAIN
				}
				if data[i] != want || !errors.Is(errs[i], wantErr) {
					return fmt.Sprintf("round %d, socket %d: %q, %v, want %q, %v", round, i, data[i], errs[i], want, wantErr)
				}
				written[i] = written[i][len(want):]
				left = left || want != ""
			}
			if !left {
				return ""
			}
		}
	}, gen.SliceOfN(simulator.RingBatch, gen.IntRange(0, 3*size)).FlatMap(func(v any) gopter.Gen {
		all := v.([]int)
		return gen.IntRange(1, len(all)).Map(func(n int) []int { return all[:n] })
	}, reflect.TypeFor[[]int]()), gen.SliceOfN(simulator.RingBatch, gen.Bool())))
}

// A descriptor that is none says so, and those behind it are read all the same.
func TestRingTellsErrors(t *testing.T) {
	needsRing(t)
	r, err := simulator.NewRing(16)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	client, server := socketPair(t)
	if _, err := unix.Write(server, []byte("x")); err != nil {
		t.Fatal(err)
	}
	r.Add(-1)
	r.Add(client)
	data, errs, err := r.Read()
	if err != nil || !reflect.DeepEqual(data, []string{"", "x"}) || !errors.Is(errs[0], unix.EBADF) || errs[1] != nil {
		t.Errorf("%q, %v, %v", data, errs, err)
	}
	if data, errs, err := r.Read(); len(data)+len(errs) != 0 || err != nil {
		t.Errorf("no reads: %q, %v, %v", data, errs, err)
	}
}

// What does not fit a buffer of the ring is read behind it, whole, once and in order, whatever the pieces cut.
func TestRingReadsWhatFindsNoRoom(t *testing.T) {
	needsRing(t)
	const messages = 400
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	s := newStub(t, nil)
	config := testConfig(s, simulator.EngineRing, 20) // more than a batch
	config.ReadBuffer = 4096                          // 256 bytes for each of a batch
	f := startFleet(t, config)
	f.connect()
	var wire []byte
	for seq := uint64(1); seq <= messages; seq++ {
		wire = append(wire, serverFrame(0x81, []byte(encode(message(clk, simulator.PhaseMeasure, 0, seq))))...)
	}
	waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 20 })
	for _, c := range s.all() {
		c.raw(wire)
	}
	waitFor(t, "all messages", func() bool { return f.Counters().Received == 20*messages })
	report := f.finish(simulator.TopicSent{Topic: 0, Phase: simulator.PhaseMeasure, First: 1, Count: messages})
	p := phaseOf(report, simulator.PhaseMeasure)
	if p.Received != 20*messages || p.Lost+p.Duplicated+p.Reordered+p.Corrupt+p.Foreign != 0 || report.Engine != simulator.EngineRing {
		t.Errorf("%s: ledger %+v", report.Engine, p)
	}
}
