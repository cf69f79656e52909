package gateway_test

import (
	"cmp"
	"testing"
	"testing/synctest"
	"time"

	"firetower/core/gateway"
)

// A consumer that has had work for some rounds, and whose messages join, rests, the longer the more it would have
// to do without joining; every other one begins its next round at once.
func TestRestsWhenSaturated(t *testing.T) {
	const ms = time.Millisecond
	push := func(messages int) func(*gateway.Turns) {
		return func(turns *gateway.Turns) { turns.Push(0, messages, 1, ms) }
	}
	for _, tt := range []struct {
		name          string
		central, join int                  // not 0: other than 1000 and 50
		busy          int                  // rounds before, with eight messages each
		gap           time.Duration        // between the last of them and what comes
		come          func(*gateway.Turns) // what comes for the round in question
		took          time.Duration
		want          time.Duration
	}{
		{"saturated", 0, 0, 2, 0, push(8), 2 * ms, 5 * ms},
		{"a burst", 0, 0, 1, 0, push(8), 2 * ms, 0},
		{"a long round", 0, 0, 2, 0, push(8), 50 * ms, 5 * ms},
		{"a short round", 0, 0, 2, 0, push(8), ms / 2, 3 * ms / 2},
		{"a rest that would be too short", 0, 0, 2, 0, push(8), ms / 4, 0},
		{"as much as one would do all the time", 0, 0, 2, 14 * ms, push(8), 2 * ms, 2 * ms},
		{"as much as one would do half of the time", 0, 0, 2, 30 * ms, push(8), 2 * ms, ms},
		{"less than that", 0, 0, 2, 61 * ms, push(8), 4 * ms, 0},
		{"messages that came together", 0, 0, 2, 0, func(turns *gateway.Turns) { turns.Push(0, 8, 1, ms-1) }, 2 * ms, 0},
		{"after a round with little to do", 0, 0, 2, 0, func(turns *gateway.Turns) {
			time.Sleep(61 * ms) //nolint:forbidigo // the bubble's clock
			turns.Push(0, 8, 1, ms)
			turns.Turn(4 * ms)
			turns.Push(0, 8, 1, ms)
		}, 2 * ms, 0},
		{"a rest is no time with nothing to do", 0, 0, 2, 0, func(turns *gateway.Turns) {
			turns.Push(0, 8, 1, ms)
			turns.Turn(2 * ms) // and rests for 5
			turns.Push(0, 2, 1, ms)
		}, 2 * ms, 8 * ms / 7},
		{"two messages to each", 0, 0, 2, 0, push(2), 2 * ms, 4 * ms},
		{"one message to each", 0, 0, 2, 0, func(turns *gateway.Turns) {
			turns.Push(0, 1, 1, 0)
			turns.Push(1, 2, 1, 0)
		}, 2 * ms, 0},
		{"half of what one write joins", 0, 0, 2, 0, push(25), 2 * ms, 5 * ms},
		{"more than half of what one write joins", 0, 0, 2, 0, push(26), 2 * ms, 0},
		{"half of the bytes that one write joins", 0, 0, 2, 0, func(turns *gateway.Turns) { turns.Push(0, 2, 150<<10-50, ms) }, 2 * ms, 4 * ms},
		{"more than half of the bytes that one write joins", 0, 0, 2, 0, func(turns *gateway.Turns) { turns.Push(0, 2, 150<<10, ms) }, 2 * ms, 0},
		{"after more than one write joins", 0, 0, 1, 0, func(turns *gateway.Turns) {
			turns.Push(0, 51, 1, ms)
			turns.Turn(2 * ms)
			turns.Push(0, 8, 1, ms)
		}, 2 * ms, 5 * ms},
		{"many", 0, 200, 2, 0, push(63), 2 * ms, 5 * ms},
		{"so many that more would save nothing", 0, 200, 2, 0, push(64), 2 * ms, 0},
		{"half of what it takes", 0, 200, 2, 0, func(turns *gateway.Turns) {
			turns.Push(0, 50, 1, ms)
			turns.Push(1, 14, 1, 0)
		}, 2 * ms, 5 * ms},
		{"more than half of what it takes", 0, 200, 2, 0, func(turns *gateway.Turns) {
			turns.Push(0, 50, 1, ms)
			turns.Push(1, 15, 1, 0)
		}, 2 * ms, 0},
		{"half of the messages that fit", 16, 0, 2, 0, push(8), 2 * ms, 5 * ms},
		{"more of the messages that fit", 15, 0, 2, 0, push(8), 2 * ms, 0},
		{"half of the bytes that fit", 0, 0, 2, 0, func(turns *gateway.Turns) {
			turns.Push(0, 5, 50<<10, ms)
			turns.Push(1, 5, 50<<10, 0)
		}, 2 * ms, 5 * ms},
		{"more of the bytes that fit", 0, 0, 2, 0, func(turns *gateway.Turns) {
			turns.Push(0, 5, 51<<10, ms)
			turns.Push(1, 5, 51<<10, 0)
		}, 2 * ms, 0},
		{"few messages of the topic with many subscribers", 0, 0, 2, 0, func(turns *gateway.Turns) {
			turns.Push(0, 1, 1, ms)
			turns.Push(1, 20, 1, ms)
		}, 2 * ms, 0},
		{"many messages of the topic with many subscribers", 0, 0, 2, 0, func(turns *gateway.Turns) {
			turns.Push(0, 20, 1, ms)
			turns.Push(1, 1, 1, 0)
		}, 2 * ms, 5 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// A write joins 600 KiB; 1 KiB fits for each of the 1000 messages.
				turns := gateway.NewTurns(128, cmp.Or(tt.central, 1000), cmp.Or(tt.join, 50), 500, 5)
				for range tt.busy {
					turns.Push(0, 8, 1, ms)
					turns.Turn(2 * ms)
				}
				time.Sleep(tt.gap) //nolint:forbidigo // the bubble's clock
				tt.come(turns)
				if _, got := turns.Turn(tt.took); got != tt.want {
					t.Errorf("it rests for %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// While a consumer rests nobody else writes, and what comes is written in the next round.
func TestWhatComesDuringARestIsJoined(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		turns := gateway.NewTurns(100, 1000, 50, 500, 5)
		for range 2 {
			turns.Push(0, 8, 1, ms)
			turns.Turn(2 * ms)
		}
		turns.Push(0, 8, 1, ms)
		done := make(chan time.Duration)
		go func() {
			_, rested := turns.Turn(2 * ms)
			done <- rested
		}()
		time.Sleep(3 * ms) //nolint:forbidigo // the bubble's clock: within the rest
		if turns.Inline(1) {
			t.Error("a dispatcher writes while the consumer has the lane")
		}
		turns.Push(0, 3, 1, ms)
		turns.Push(1, 2, 1, ms)
		if rested := <-done; rested != 5*ms {
			t.Errorf("it rested for %v", rested)
		}
		if n, _ := turns.Turn(0); n != 5 {
			t.Errorf("the next round takes %d messages, want 5", n)
		}
	})
}

// What a dispatcher writes by itself does not make a consumer seem busy that is not.
func TestInlineWritesAreNotRounds(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		turns := gateway.NewTurns(100, 1000, 50, 500, 5)
		for i := range 10 {
			turns.Push(0, 8, 1, ms)
			if _, rested := turns.Turn(2 * ms); rested != 0 {
				t.Fatalf("it rests for %v after round %d", rested, i)
			}
			turns.Idle()
			time.Sleep(50 * ms) //nolint:forbidigo // the bubble's clock
			if !turns.Inline(1) {
				t.Fatal("an idle lane is not lent")
			}
		}
	})
}
