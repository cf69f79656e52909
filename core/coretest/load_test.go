package coretest_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firetower/core/coretest"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// load publishes numbered messages to topics, in turn, until it is stopped: "topic:0", "topic:1"
// and so on, each once. A number whose publish fails is not repeated.
type load struct {
	cluster *coretest.Cluster
	topics  []string
	stopped chan struct{}
	group   sync.WaitGroup

	// next is the number that the next round of topics gets.
	next atomic.Int64

	mu sync.Mutex // guards the following
	// accepted are the numbers that the manager took, by topic, with the gateways that it matched.
	accepted map[string]map[int]*topicpb.PublishResponse
	failed   int
}

// startLoad begins to publish with a pause between rounds.
func startLoad(t *testing.T, cluster *coretest.Cluster, topics []string, pause time.Duration) *load {
	t.Helper()
	l := &load{
		cluster: cluster, topics: topics, stopped: make(chan struct{}),
		accepted: make(map[string]map[int]*topicpb.PublishResponse),
	}
	for _, topic := range topics {
		l.accepted[topic] = make(map[int]*topicpb.PublishResponse)
	}
	l.group.Go(func() { l.run(pause) })
	t.Cleanup(l.stop)
	return l
}

func (l *load) run(pause time.Duration) {
	service := l.cluster.Service()
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		n := int(l.next.Load())
		for _, topic := range l.topics {
			ctx, cancel := context.WithTimeout(context.Background(), coretest.Patience)
			resp, err := service.Publish(ctx, &topicpb.PublishRequest{Topic: topic, Data: []byte(numbered(topic, n))})
			cancel()
			l.mu.Lock()
			if err == nil {
				l.accepted[topic][n] = resp
			} else {
				l.failed++
			}
			l.mu.Unlock()
		}
		l.next.Add(1)
		select {
		case <-ticker.C:
		case <-l.stopped:
			return
		}
	}
}

// stop ends publishing; once it has returned nothing more goes out.
func (l *load) stop() {
	select {
	case <-l.stopped:
	default:
		close(l.stopped)
	}
	l.group.Wait()
}

// rounds waits for n more rounds of publishing.
func (l *load) rounds(t *testing.T, n int64) {
	t.Helper()
	until := l.next.Load() + n
	coretest.Eventually(t, fmt.Sprintf("%d rounds of publishing", n), func() bool { return l.next.Load() >= until })
}

// counts returns how many publishes of a topic the manager took, and how many failed in all.
func (l *load) counts(topic string) (accepted, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted[topic]), l.failed
}

func numbered(topic string, n int) string { return strconv.Quote(fmt.Sprintf("%s:%d", topic, n)) }

// number reads what numbered made.
func number(t *testing.T, topic, data string) int {
	t.Helper()
	text, err := strconv.Unquote(data)
	if err != nil {
		t.Fatalf("message %q of topic %q: %v", data, topic, err)
	}
	digits, ok := strings.CutPrefix(text, topic+":")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil {
		t.Fatalf("message %q is not of topic %q", data, topic)
	}
	return n
}

// checkOnce fails the test when numbers of a topic came twice or out of order, and returns them.
func checkOnce(t *testing.T, who, topic string, messages []string) []int {
	t.Helper()
	numbers := make([]int, 0, len(messages))
	for _, data := range messages {
		n := number(t, topic, data)
		if len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			t.Errorf("%s: topic %q: %d after %d", who, topic, n, numbers[len(numbers)-1])
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// last returns the number of the newest message of a topic, -1 when there is none.
func last(t *testing.T, s *coretest.Socket, topic string) int {
	t.Helper()
	messages := s.Messages(topic)
	if len(messages) == 0 {
		return -1
	}
	return number(t, topic, messages[len(messages)-1])
}

// audience are sockets over all gateways which all subscribe to all topics.
func audience(t *testing.T, c *coretest.Cluster, gateways, perGateway int, topics []string) []*coretest.Socket {
	t.Helper()
	var sockets []*coretest.Socket
	for g := range gateways {
		for range perGateway {
			s := c.Dial(g, protocol.SubprotocolV1)
			s.Subscribe(topics...)
			sockets = append(sockets, s)
		}
	}
	return sockets
}

// waitDelivered waits until every socket has a message of every topic with at least number n.
func waitDelivered(t *testing.T, sockets []*coretest.Socket, topics []string, n int) {
	t.Helper()
	for i, s := range sockets {
		for _, topic := range topics {
			coretest.Eventually(t, fmt.Sprintf("socket %d: message %d of %q", i, n, topic), func() bool {
				return last(t, s, topic) >= n
			})
		}
	}
}

func names(prefix string, n int) []string {
	topics := make([]string, n)
	for i := range topics {
		topics[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return topics
}

// sortedKeys returns the numbers of a set.
func sortedKeys[V any](set map[int]V) []int {
	keys := make([]int, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
