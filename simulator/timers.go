package simulator

import "container/heap"

// timers wake connections at their times, without a goroutine or a channel for any of them. A connection has at most
// one.
type timers []timer

type timer struct {
	at   int64 // ns
	conn int32
}

// set adds one.
func (t *timers) set(at int64, conn int) { heap.Push((*timerHeap)(t), timer{at, int32(conn)}) }

// due takes out the earliest one, if its time has come.
func (t *timers) due(now int64) (conn int, ok bool) {
	if len(*t) == 0 || (*t)[0].at > now {
		return 0, false
	}
	first, _ := heap.Pop((*timerHeap)(t)).(timer)
	return int(first.conn), true
}

// timerHeap is how package heap sees them.
type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

func (h *timerHeap) Push(x any) {
	t, _ := x.(timer)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
