package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"firetower/core/gateway"
)

// U5-15, U4-34: the index against a map, while consumers hold lists that change.
func TestU5_15_IndexAgainstAModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		const connections = 40
		x := gateway.NewTopicIndex(connections, 3)
		model := make(map[string]map[int]func())
		type held struct {
			ids  map[uint64]int
			want int
			back func()
		}
		var lent []held
		total := 0
		for step := range 2000 {
			topic := fmt.Sprintf("t%d", rng.IntN(4))
			if model[topic] == nil {
				model[topic] = make(map[int]func())
			}
			i := rng.IntN(connections)
			switch remove := model[topic][i]; {
			case remove != nil:
				remove()
				delete(model[topic], i)
				total--
			default:
				model[topic][i] = x.Add(i, topic)
				total++
			}
			if rng.IntN(5) == 0 {
				for _, h := range lent {
					h.back()
				}
				lent = lent[:0]
				ids, back := x.Borrow(topic)
				lent = append(lent, held{ids, len(model[topic]), back})
				if len(ids) != len(model[topic]) {
					t.Fatalf("seed %d, step %d: the fan-out sees %d subscribers of %s, there are %d", seed, step, len(ids), topic, len(model[topic]))
				}
				for id, n := range ids {
					if n != 1 || model[topic][int(id)] == nil {
						t.Fatalf("seed %d, step %d: connection %d stands there %d times", seed, step, id, n)
					}
				}
			}
			topics := 0
			for _, subs := range model {
				if len(subs) > 0 {
					topics++
				}
			}
			if nt, ns := x.Size(); int(nt) != topics || int(ns) != total {
				t.Fatalf("seed %d, step %d: size %d topics, %d subscriptions; there are %d, %d", seed, step, nt, ns, topics, total)
			}
		}
	}
}

// What a consumer has borrowed does not change under it, whoever comes and goes.
func TestBorrowedSubscribersStayAsTheyWere(t *testing.T) {
	const connections = 64
	x := gateway.NewTopicIndex(connections, 1)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(uint64(w), 2))
			removes := make(map[int]func())
			for {
				select {
				case <-stop:
					for _, f := range removes {
						f()
					}
					return
				default:
				}
				i := w + 4*rng.IntN(connections/4) // each worker has connections of its own
				if f := removes[i]; f != nil {
					f()
					delete(removes, i)
				} else {
					removes[i] = x.Add(i, "room")
				}
			}
		}()
	}
	for range 2000 {
		ids, back := x.Borrow("room")
		for id, n := range ids {
			if n != 1 {
				t.Errorf("connection %d stands there %d times", id, n)
			}
		}
		back()
	}
	close(stop)
	wg.Wait()
	if topics, subs := x.Size(); topics != 0 || subs != 0 {
		t.Errorf("left: %d topics, %d subscriptions", topics, subs)
	}
}

func TestBacklog(t *testing.T) {
	frames := func(b *gateway.Backlog) string {
		f, _, _ := b.Frames()
		return strings.Join(f, " ")
	}
	fill := func() *gateway.Backlog {
		var b gateway.Backlog
		b.Append("a", []byte("rest"), true)
		b.Append("a", []byte("a1"), false)
		b.Append("", []byte("reply"), false)
		b.Append("b", []byte("b1"), false)
		b.Append("a", []byte("a2"), false)
		return &b
	}
	rows := []struct {
		name string
		do   func(*gateway.Backlog) any
		got  any
		left string
	}{
		{"advance within a frame", func(b *gateway.Backlog) any { return b.Advance(2) }, 0, "st a1 reply b1 a2"},
		{"advance over frames", func(b *gateway.Backlog) any { return b.Advance(4 + 2 + 5 + 1) }, 2, "1 a2"},
		{"drop a topic, not what has begun", func(b *gateway.Backlog) any { return b.DropTopic("a") }, 2, "rest reply b1"},
		{"drop a topic, not what is in flight", func(b *gateway.Backlog) any { b.InFlight(2); return b.DropTopic("a") }, 1, "rest a1 reply b1"},
		{"truncate", func(b *gateway.Backlog) any { return b.Truncate() }, 3, "rest reply"},
		{"drop the oldest for bytes", func(b *gateway.Backlog) any { n, ok := b.DropOldest(3, 15, 100); return fmt.Sprint(n, ok) }, "2 true", "rest reply a2"},
		{"drop the oldest for count", func(b *gateway.Backlog) any { n, ok := b.DropOldest(1, 1000, 3); return fmt.Sprint(n, ok) }, "2 true", "rest reply a2"},
		{"nothing droppable is left", func(b *gateway.Backlog) any { n, ok := b.DropOldest(100, 50, 100); return fmt.Sprint(n, ok) }, "3 false", "rest reply"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := fill()
			if got := row.do(b); fmt.Sprint(got) != fmt.Sprint(row.got) {
				t.Errorf("got %v, want %v", got, row.got)
			}
			if left := frames(b); left != row.left {
				t.Errorf("left %q, want %q", left, row.left)
			}
			f, bytes, _ := b.Frames()
			if sum := len(strings.Join(f, "")); sum != bytes {
				t.Errorf("%d bytes are counted, %d are there", bytes, sum)
			}
		})
	}
}

// The bytes that a backlog lets through are whole frames in order, whatever is
// written in what portions and dropped in between.
func TestBacklogStreamIsWholeFrames(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var b gateway.Backlog
		var stream []byte
		next, messages, dropped, done := 0, 0, 0, 0
		for range 300 {
			switch rng.IntN(4) {
			case 0, 1:
				frame := fmt.Sprintf("<%d%s>", next, strings.Repeat(".", rng.IntN(20)))
				next++
				b.Append(fmt.Sprintf("t%d", rng.IntN(3)), []byte(frame), false)
				messages++
			case 2:
				f, _, _ := b.Frames()
				all := strings.Join(f, "")
				if len(all) > 0 {
					n := rng.IntN(len(all) + 1)
					stream = append(stream, all[:n]...)
					done += b.Advance(n)
				}
			case 3:
				n, _ := b.DropOldest(rng.IntN(30), 60, 6)
				dropped += n
			}
		}
		f, bytes, waiting := b.Frames()
		if len(strings.Join(f, "")) != bytes || len(f) != waiting || waiting+dropped+done != messages {
			t.Fatalf("seed %d: %d waiting (%d counted, %d bytes), %d dropped, %d done of %d", seed, len(f), waiting, bytes, dropped, done, messages)
		}
		last := -1
		whole := strings.Split(string(stream), "<")
		for _, frame := range whole[1 : len(whole)-1] {
			var n int
			if _, err := fmt.Sscanf(frame, "%d", &n); err != nil || n <= last || !strings.HasSuffix(frame, ">") {
				t.Fatalf("seed %d: frame %q after %d in %q", seed, frame, last, stream)
			}
			last = n
		}
	}
}

// A lane is first in, first out, and hands out no more than asked for.
func TestLaneIsAQueue(t *testing.T) {
	for _, take := range []int{1, 3, 1000} {
		l := gateway.NewLane(take)
		rng := rand.New(rand.NewPCG(uint64(take), 4))
		var want, got []string
		for n := 0; n < 5000; {
			for range rng.IntN(9) {
				topic := fmt.Sprint(n)
				l.Push(topic)
				want = append(want, topic)
				n++
			}
			if len(got) < len(want) {
				batch := l.Next()
				if len(batch) == 0 || len(batch) > take {
					t.Fatalf("take %d: a batch of %d", take, len(batch))
				}
				got = append(got, batch...)
			}
		}
		l.Close()
		for batch := l.Next(); len(batch) > 0; batch = l.Next() {
			got = append(got, batch...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("take %d: %d items came out of %d, or in another order", take, len(got), len(want))
		}
	}
}
