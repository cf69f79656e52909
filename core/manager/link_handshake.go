package manager

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// maxClusterID is the longest ClusterID, in bytes.
const maxClusterID = 255

// handshake takes a hello and the snapshot that follows it, puts the snapshot in
// the place of the gateway's older topics, and answers with a welcome.
//
//	gateway                           manager
//	   | hello (ClusterID, epoch, token) |  token; an older link is superseded
//	   | snapshot ... snapshot (last)    |
//	   |                                 |  registry: the new session for the old one
//	   |                         welcome |  what the older link has missed
//	   | <---- publish, heartbeat -----> |
//
// Nothing is sent on the link before the welcome.
func (l *link) handshake(first protocol.Packet) error {
	hello := new(topicpb.LinkHello)
	if err := proto.Unmarshal(first.Body, hello); err != nil {
		return evicted(EvictBadHello, fmt.Errorf("hello: %w", err))
	}
	if l.b.opt.Token != "" && !tokenOK(l.b.tokenHash, hello.GetToken()) {
		return evicted(EvictUnauthenticated, errors.New("the token is not this manager's"))
	}
	if err := protocol.ValidTopic(hello.GetClusterId(), maxClusterID); err != nil {
		return evicted(EvictBadHello, fmt.Errorf("cluster_id: %w", err))
	}
	if hello.GetEpoch() <= 0 {
		return evicted(EvictBadHello, fmt.Errorf("epoch: must be >= 1, got %d", hello.GetEpoch()))
	}
	l.in.budget = -1
	if err := l.b.hello(l, hello.GetClusterId(), hello.GetEpoch()); err != nil {
		return err
	}
	s := l.b.newSession(l, hello.GetClusterId(), hello.GetEpoch())
	s.version = hello.GetVersion()
	l.session = s

	counts, err := l.snapshot()
	if err != nil {
		return err
	}
	old, err := l.b.welcome(s, counts)
	if err != nil {
		return err
	}
	answer := &topicpb.LinkWelcome{ManagerId: l.b.id, Epoch: s.epoch, HeartbeatMs: l.b.opt.Heartbeat.Milliseconds()}
	answer.Missed, answer.MissedKnown = l.b.missed(old, s, hello.GetPrevEpoch(), hello.GetReceived())
	if err := l.sendWelcome(answer); err != nil {
		return err
	}
	l.in.establish(2 * l.b.opt.Heartbeat)
	l.startWriter(s)
	l.b.log.Info("gateway linked", "gateway", s.id, "epoch", s.epoch, "remote", l.remote, "topics", len(counts), "version", s.version,
		"missed", answer.GetMissed(), "missed_known", answer.GetMissedKnown())
	return nil
}

// snapshot reads the gateway's topics up to the last packet of them.
func (l *link) snapshot() ([]topicCount, error) {
	var counts []topicCount
	refused := 0
	for {
		p, _, err := l.frames.NextRaw()
		if err != nil {
			return nil, readError(err)
		}
		if p.Type == protocol.HeartbeatKey {
			continue
		}
		if p.Type != protocol.SnapshotKey {
			return nil, evicted(EvictBadHello, fmt.Errorf("a packet of type %q before the last snapshot", p.Type))
		}
		part := new(topicpb.LinkSnapshot)
		if err := proto.Unmarshal(p.Body, part); err != nil {
			return nil, evicted(EvictBadHello, fmt.Errorf("snapshot: %w", err))
		}
		for _, t := range part.GetTopics() {
			if !validTopic(t.GetTopic(), l.b.opt) {
				// Refusing the gateway would silence all its clients for the sake of one name.
				refused++
				continue
			}
			counts = append(counts, topicCount{topic: t.GetTopic(), count: t.GetCount()})
		}
		if len(counts) > l.b.opt.MaxTopicsPerGateway {
			return nil, evicted(EvictBadHello, fmt.Errorf("more than max_topics_per_gateway, which is %d", l.b.opt.MaxTopicsPerGateway))
		}
		if part.GetLast() {
			break
		}
	}
	if refused > 0 {
		l.b.log.Warn("topics of a snapshot refused: they break the rules for topics or are longer than max_topic_bytes",
			"gateway", l.session.id, "refused", refused)
	}
	return counts, nil
}

// sendWelcome writes the first packet of the link, before its writer starts.
func (l *link) sendWelcome(answer *topicpb.LinkWelcome) error {
	packet, err := controlPacket(protocol.WelcomeKey, answer)
	if err != nil {
		return err
	}
	l.bufs = append(l.bufs[:0], packet)
	return l.write(&l.bufs, time.Now())
}
