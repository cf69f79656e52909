package manager_test

import (
	"testing"

	"firetower/core/manager"
)

func TestLinkQueue(t *testing.T) {
	type step struct {
		do   string // put, take, written, flush, close
		n    int    // put: size; written: messages of 10 bytes; close: what it must lose
		want string // put: what it must say
	}
	for _, tc := range []struct {
		name            string
		messages, bytes int
		steps           []step
		left, leftBytes int
	}{
		{"bounded in number", 2, 1000, []step{{"put", 10, "queued"}, {"put", 10, "queued"}, {"put", 10, "full"}, {"put", 10, "shut"}}, 2, 20},
		{"bounded in bytes", 100, 25, []step{{"put", 10, "queued"}, {"put", 10, "queued"}, {"put", 10, "full"}, {"put", 1, "shut"}}, 2, 20},
		{"exactly full", 2, 20, []step{{"put", 10, "queued"}, {"put", 10, "queued"}}, 2, 20},
		{"what is being written still counts", 2, 1000, []step{{"put", 10, "queued"}, {"put", 10, "queued"}, {"take", 2, ""}, {"put", 10, "full"}}, 2, 20},
		{"room after a write", 2, 1000, []step{{"put", 10, "queued"}, {"put", 10, "queued"}, {"take", 2, ""}, {"written", 1, ""}, {"put", 10, "queued"}}, 2, 20},
		{"flush lets no more in and loses nothing", 9, 1000, []step{{"put", 10, "queued"}, {"flush", 0, ""}, {"put", 10, "shut"}, {"take", 1, "last"}}, 1, 10},
		{"close loses what is not written", 9, 1000, []step{{"put", 10, "queued"}, {"put", 10, "queued"}, {"take", 2, ""}, {"written", 1, ""}, {"close", 1, ""}, {"close", 0, ""}, {"put", 1, "shut"}}, 0, 0},
		{"a full queue is not one to be flushed", 1, 1000, []step{{"put", 10, "queued"}, {"put", 10, "full"}, {"flush", 0, ""}, {"take", 1, ""}, {"close", 1, ""}}, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := manager.NewQueue(tc.messages, tc.bytes)
			for i, s := range tc.steps {
				switch s.do {
				case "put":
					if got := q.Put(s.n); got != s.want {
						t.Fatalf("step %d: put = %s, want %s", i, got, s.want)
					}
				case "take":
					if n, _, last := q.Take(); n != s.n || last != (s.want == "last") {
						t.Fatalf("step %d: took %d, last %t", i, n, last)
					}
				case "written":
					q.Written(s.n, 10*s.n)
				case "flush":
					q.Flush()
				case "close":
					if lost := q.Close(); lost != s.n {
						t.Fatalf("step %d: close lost %d, want %d", i, lost, s.n)
					}
				}
			}
			if n, bytes := q.Size(); n != tc.left || bytes != tc.leftBytes {
				t.Fatalf("%d packets of %d bytes left, want %d of %d", n, bytes, tc.left, tc.leftBytes)
			}
		})
	}
}
