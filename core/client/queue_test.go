package client_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"firetower/core/client"
)

func TestQueuePolicies(t *testing.T) {
	tests := []struct {
		policy client.QueuePolicy
		want   []string
	}{
		{client.QueueDropOldest, []string{"t=0", "<dropped>", "t=6", "t=7", "t=8", "t=9"}},
		{client.QueueDropNewest, []string{"t=0", "t=1", "t=2", "t=3", "t=4", "<dropped>"}},
		{client.QueueBlock, []string{"t=0", "t=1", "t=2", "t=3", "t=4", "t=5", "t=6", "t=7", "t=8", "t=9"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			s, l := newStub(t), &log{}
			o := options(s, l)
			o.QueueMessages, o.QueuePolicy = 4, tt.policy
			c := dial(t, o)
			busy, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			if err := c.Subscribe(within(t), "t", func(m client.Message) {
				once.Do(func() { close(busy); <-release })
				l.message(m)
			}); err != nil {
				t.Fatal(err)
			}
			s.push("t", "0")
			<-busy
			for i := 1; i < 10; i++ {
				s.push("t", fmt.Sprint(i))
			}
			// With QueueBlock the reader holds the sixth message and reads no further.
			received := uint64(10)
			if tt.policy == client.QueueBlock {
				received = 6
			}
			wait(t, "the reader", func() bool { return c.Stats().Received == received })
			close(release)
			wait(t, "the handlers", func() bool { return len(l.all()) == len(tt.want)+1 })
			if got := l.all()[1:]; !slices.Equal(got, tt.want) {
				t.Errorf("handled %v, want %v", got, tt.want)
			}
			if stats := c.Stats(); stats.Dropped+stats.Delivered != 10 {
				t.Errorf("stats %+v do not add up to 10", stats)
			}
		})
	}
}
