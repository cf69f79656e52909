package manager

import (
	"cmp"
	"slices"
)

// topicInfo is one row of a list of topics.
type topicInfo struct {
	topic       string
	subscribers int64
	gateways    int
}

// compare orders rows as they are listed: most subscribers first, then by name.
func (a topicInfo) compare(b topicInfo) int {
	if c := cmp.Compare(b.subscribers, a.subscribers); c != 0 {
		return c
	}
	return cmp.Compare(a.topic, b.topic)
}

// topRows keeps the best rows seen so far: a heap with the worst of them on top,
// once there are limit of them.
type topRows struct {
	limit int
	rows  []topicInfo
}

// offer takes a row in if it is among the best.
func (t *topRows) offer(row topicInfo) {
	switch {
	case len(t.rows) < t.limit:
		t.rows = append(t.rows, row)
		if len(t.rows) == t.limit {
			for i := t.limit/2 - 1; i >= 0; i-- {
				t.sink(i)
			}
		}
	case t.limit > 0 && row.compare(t.rows[0]) < 0:
		t.rows[0] = row
		t.sink(0)
	}
}

// sink moves row i down to where no row below it is worse.
func (t *topRows) sink(i int) {
	for {
		worst := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.rows); child++ {
			if t.rows[child].compare(t.rows[worst]) > 0 {
				worst = child
			}
		}
		if worst == i {
			return
		}
		t.rows[i], t.rows[worst] = t.rows[worst], t.rows[i]
		i = worst
	}
}

// top lists the limit topics with the most subscribers among those that match
// (nil = all), and how many match in all. It passes over all topics once with a
// heap of limit rows and never sorts more than those; a shard's readers-writer
// lock is held for that shard's part only, so the list is not of one instant.
func (r *topicRelevance) top(limit int, match func(topic string) bool) (rows []topicInfo, total int64) {
	best := topRows{limit: limit}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for topic, e := range s.topics {
			if match == nil || match(topic) {
				total++
				best.offer(topicInfo{topic: topic, subscribers: e.total(), gateways: e.gateways()})
			}
		}
		s.mu.RUnlock()
	}
	slices.SortFunc(best.rows, topicInfo.compare)
	return best.rows, total
}
