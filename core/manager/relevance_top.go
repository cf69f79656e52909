package manager

import (
	"cmp"
	"container/heap"
	"slices"
)

// topicInfo is one row of a list of topics.
type topicInfo struct {
	topic       string
	subscribers int64
	gateways    int
}

// less orders rows as they are listed: most subscribers first, then by name.
func (a topicInfo) compare(b topicInfo) int {
	if c := cmp.Compare(b.subscribers, a.subscribers); c != 0 {
		return c
	}
	return cmp.Compare(a.topic, b.topic)
}

// topHeap keeps the best rows seen so far with the worst of them on top.
type topHeap []topicInfo

func (h topHeap) Len() int           { return len(h) }
func (h topHeap) Less(i, j int) bool { return h[i].compare(h[j]) > 0 }
func (h topHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *topHeap) Push(x any)        { *h = append(*h, x.(topicInfo)) }
func (h *topHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// top lists the limit topics with the most subscribers among those that match
// (nil = all), and how many match in all. It passes over all topics once with a
// heap of limit rows and never sorts more than those; a shard's readers-writer
// lock is held for that shard's part only, so the list is not of one instant.
func (r *topicRelevance) top(limit int, match func(topic string) bool) (rows []topicInfo, total int64) {
	best := make(topHeap, 0, min(limit, 1024))
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for topic, e := range s.topics {
			if match != nil && !match(topic) {
				continue
			}
			total++
			row := topicInfo{topic: topic, subscribers: e.total, gateways: len(e.refs)}
			switch {
			case len(best) < limit:
				heap.Push(&best, row)
			case limit > 0 && row.compare(best[0]) < 0:
				best[0] = row
				heap.Fix(&best, 0)
			}
		}
		s.mu.RUnlock()
	}
	slices.SortFunc(best, topicInfo.compare)
	return best, total
}
