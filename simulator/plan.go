package simulator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// TopicPlan says which topics exist and which connection subscribes to which. It is a pure function of indexes, so
// that the publisher, every worker and the ledger agree without telling each other.
type TopicPlan struct {
	// Count is how many topics there are; their indexes are 0 to Count-1. Default 1.
	Count int `json:"count"`
	// PerConn is how many topics each connection subscribes to. Connection i subscribes to the topics
	// (i*PerConn + k) mod Count, for k from 0 to PerConn-1. Default 1.
	PerConn int `json:"per_conn"`
	// Prefix begins the name of every topic; the index follows in decimal. Default "loadtest-".
	Prefix string `json:"prefix"`
}

// Name is the name of the topic with the given index.
func (p TopicPlan) Name(index int) string {
	return p.Prefix + strconv.Itoa(index)
}

// Topic is the index of the k-th topic of a connection. conn counts over the whole run, not within a worker.
func (p TopicPlan) Topic(conn, k int) int {
	return (conn*p.PerConn + k) % p.Count
}

// Slot is the inverse of [TopicPlan.Topic]: which of its topics this one is to the connection, or -1.
func (p TopicPlan) Slot(conn, topic int) int {
	if topic < 0 || topic >= p.Count {
		return -1
	}
	k := (topic - conn*p.PerConn) % p.Count
	if k < 0 {
		k += p.Count
	}
	if k >= p.PerConn {
		return -1
	}
	return k
}

// Subscribers counts, for each topic, the connections first to first+n-1 that subscribe to it.
func (p TopicPlan) Subscribers(first, n int) []int {
	counts := make([]int, p.Count)
	for conn := first; conn < first+n; conn++ {
		for k := range p.PerConn {
			counts[p.Topic(conn, k)]++
		}
	}
	return counts
}

// validate reports every problem, each under its key.
func (p TopicPlan) validate() error {
	var problems []error
	if p.Count < 1 {
		problems = append(problems, fmt.Errorf("topics.count: must be >= 1, got %d", p.Count))
	}
	if p.PerConn < 1 || p.PerConn > max(p.Count, 1) {
		problems = append(problems, fmt.Errorf("topics.per_conn: must be from 1 to topics.count (%d), got %d", p.Count, p.PerConn))
	}
	bad := func(r rune) bool { return r <= ' ' || r == ',' || r == '"' || r == '\\' || r >= 0x7f }
	if p.Prefix == "" || strings.ContainsFunc(p.Prefix, bad) {
		problems = append(problems, fmt.Errorf(
			"topics.prefix: must be printable ASCII without space, comma, quote and backslash, got %q", p.Prefix))
	}
	return errors.Join(problems...)
}
