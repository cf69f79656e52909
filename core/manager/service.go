package manager

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// topicService is TopicService over one manager's registry and links.
type topicService struct {
	topicpb.UnimplementedTopicServiceServer

	opt      Options
	id       string
	registry *topicRelevance
	bus      *bus
	bucket   *connectBucket
	gate     *gate
	acks     ackSet
	messages atomic.Uint64 // message ids given
}

// Bounds of what a request may ask for.
const (
	defaultListLimit = 100
	maxListLimit     = 10_000
	maxUserID        = 4 << 10
)

func newTopicService(opt Options, id string, registry *topicRelevance, bus *bus, bucket *connectBucket) *topicService {
	return &topicService{opt: opt, id: id, registry: registry, bus: bus, bucket: bucket, gate: newGate()}
}

// invalid is the answer to a request with a field that cannot be.
func invalid(field string, err error) error {
	if fe := (*protocol.FieldError)(nil); errors.As(err, &fe) {
		return status.Errorf(codes.InvalidArgument, "%s: %q %s", field, fe.Value, fe.Reason)
	}
	return status.Errorf(codes.InvalidArgument, "%s: %v", field, err)
}

func (s *topicService) checkTopic(field, topic string) error {
	if err := protocol.ValidTopic(topic, s.opt.MaxTopicBytes); err != nil {
		return invalid(field, err)
	}
	return nil
}

// validTopic tells whether a topic is allowed, for those who need no reason.
func validTopic(topic string, opt Options) bool {
	return protocol.ValidTopic(topic, opt.MaxTopicBytes) == nil
}

func (s *topicService) checkTopics(field string, topics []string) error {
	for i, topic := range topics {
		if !validTopic(topic, s.opt) {
			return s.checkTopic(field+"["+strconv.Itoa(i)+"]", topic)
		}
	}
	return nil
}

// GetConnectNum implements topicpb.TopicServiceServer.
func (s *topicService) GetConnectNum(_ context.Context, in *topicpb.GetConnectNumRequest) (*topicpb.GetConnectNumResponse, error) {
	if err := s.checkTopic("Topic", in.GetTopic()); err != nil {
		return nil, err
	}
	return &topicpb.GetConnectNumResponse{Number: s.registry.number(in.GetTopic())}, nil
}

// CheckTopicExist implements topicpb.TopicServiceServer.
func (s *topicService) CheckTopicExist(_ context.Context, in *topicpb.CheckTopicExistRequest) (*topicpb.CheckTopicExistResponse, error) {
	if err := s.checkTopic("Topic", in.GetTopic()); err != nil {
		return nil, err
	}
	return &topicpb.CheckTopicExistResponse{Ok: s.registry.number(in.GetTopic()) > 0}, nil
}

// SubscribeTopic implements topicpb.TopicServiceServer, for legacy gateways.
func (s *topicService) SubscribeTopic(_ context.Context, in *topicpb.SubscribeTopicRequest) (*topicpb.SubscribeTopicResponse, error) {
	if err := s.count(in.GetIp(), in.GetTopic(), 1); err != nil {
		return nil, err
	}
	return &topicpb.SubscribeTopicResponse{}, nil
}

// UnSubscribeTopic implements topicpb.TopicServiceServer, for legacy gateways.
func (s *topicService) UnSubscribeTopic(_ context.Context, in *topicpb.UnSubscribeTopicRequest) (*topicpb.UnSubscribeTopicResponse, error) {
	if err := s.count(in.GetIp(), in.GetTopic(), -1); err != nil {
		return nil, err
	}
	return &topicpb.UnSubscribeTopicResponse{}, nil
}

// count changes a legacy gateway's counts.
func (s *topicService) count(ip string, topics []string, delta int64) error {
	if ip == "" {
		return invalid("Ip", errors.New("must be the address that the gateway's link comes from"))
	}
	if err := s.checkTopics("Topic", topics); err != nil {
		return err
	}
	g := s.bucket.legacyByAddr(ip)
	if g == nil {
		return status.Errorf(codes.FailedPrecondition, "Ip: no link of a gateway comes from %q", ip)
	}
	return s.changed(g, s.registry.add(g, topics, delta))
}

// changed is the answer to a change of a gateway's topics.
func (s *topicService) changed(g *session, err error) error {
	switch {
	case errors.Is(err, errTooManyTopics):
		return status.Errorf(codes.ResourceExhausted, "gateway %q: %v, which is %d", g.id, err, s.opt.MaxTopicsPerGateway)
	case err != nil:
		return status.Errorf(codes.FailedPrecondition, "gateway %q: %v", g.id, err)
	}
	return nil
}

// SyncTopics implements topicpb.TopicServiceServer.
func (s *topicService) SyncTopics(_ context.Context, in *topicpb.SyncTopicsRequest) (*topicpb.SyncTopicsResponse, error) {
	counts := make([]topicCount, 0, len(in.GetTopics()))
	for i, t := range in.GetTopics() {
		if !validTopic(t.GetTopic(), s.opt) {
			return nil, s.checkTopic(fmt.Sprintf("topics[%d].topic", i), t.GetTopic())
		}
		if n := t.GetCount(); n < 0 || n > maxCount {
			return nil, invalid(fmt.Sprintf("topics[%d].count", i), fmt.Errorf("must be 0 to %d, got %d", maxCount, n))
		}
		counts = append(counts, topicCount{topic: t.GetTopic(), count: t.GetCount()})
	}
	g := s.bucket.live(in.GetClusterId(), in.GetEpoch())
	if g == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "cluster_id, epoch: %q has no live link with epoch %d", in.GetClusterId(), in.GetEpoch())
	}
	g.syncMu.Lock()
	defer g.syncMu.Unlock()
	if seq := in.GetSeq(); seq != 0 {
		if seq <= g.syncSeq {
			return nil, status.Errorf(codes.Aborted, "seq: %d comes after %d", seq, g.syncSeq)
		}
		g.syncSeq = seq
	}
	if err := s.changed(g, s.registry.set(g, counts)); err != nil {
		return nil, err
	}
	return &topicpb.SyncTopicsResponse{}, nil
}

// Publish implements topicpb.TopicServiceServer.
func (s *topicService) Publish(_ context.Context, in *topicpb.PublishRequest) (*topicpb.PublishResponse, error) {
	came := s.bus.counter.now()
	packet, err := s.pack(in)
	if err != nil {
		return nil, err
	}
	return answer(s.bus.publish(in.GetTopic(), packet, ViaGRPC, came)), nil
}

// PublishBatch implements topicpb.TopicServiceServer. A message that cannot be is
// refused in its own result; the others are published.
func (s *topicService) PublishBatch(_ context.Context, in *topicpb.PublishBatchRequest) (*topicpb.PublishBatchResponse, error) {
	results := make([]*topicpb.PublishResponse, len(in.GetMessages()))
	for i, m := range in.GetMessages() {
		results[i] = s.publishOne(m, ViaBatch)
	}
	return &topicpb.PublishBatchResponse{Results: results}, nil
}

// publishOne publishes a message of several; what is wrong with it is in its result.
func (s *topicService) publishOne(in *topicpb.PublishRequest, via Via) *topicpb.PublishResponse {
	came := s.bus.counter.now()
	packet, err := s.pack(in)
	if err != nil {
		return &topicpb.PublishResponse{Error: status.Convert(err).Message()}
	}
	return answer(s.bus.publish(in.GetTopic(), packet, via, came))
}

// pack makes the packet that all links share.
func (s *topicService) pack(in *topicpb.PublishRequest) ([]byte, error) {
	if err := s.checkTopic("Topic", in.GetTopic()); err != nil {
		return nil, err
	}
	p := protocol.Packet{
		Type: protocol.PublishKey, MessageID: in.GetMessageId(), Source: protocol.Source(in.GetSource()),
		Topic: in.GetTopic(), Body: in.GetData(),
	}
	if p.MessageID == "" {
		p.MessageID = s.messageID()
	}
	if p.Source == "" {
		p.Source = protocol.SourcePlatform
	}
	if size := protocol.PacketSize(p); size > s.opt.MaxPacketBytes {
		return nil, invalid("Data", fmt.Errorf("makes a packet of %d bytes, max_packet_bytes is %d", size, s.opt.MaxPacketBytes))
	}
	packet, err := protocol.Enpack(p)
	if err != nil {
		return nil, invalid(requestField(err), err)
	}
	return packet, nil
}

// requestField is the name in PublishRequest of the packet's field that was refused.
func requestField(err error) string {
	if fe := (*protocol.FieldError)(nil); errors.As(err, &fe) {
		switch fe.Field {
		case "message id":
			return "MessageId"
		case "source":
			return "Source"
		}
	}
	return "Topic"
}

// messageID names a message whose publisher did not.
func (s *topicService) messageID() string {
	b := make([]byte, 0, 32)
	b = append(b, s.id...)
	b = append(b, '-')
	return string(strconv.AppendUint(b, s.messages.Add(1), 36))
}

// answer tells a publisher what became of its message.
func answer(r receipt) *topicpb.PublishResponse {
	out := &topicpb.PublishResponse{
		Ok:              r.queued == r.matched,
		GatewaysMatched: uint32(r.matched),
		GatewaysQueued:  uint32(r.queued),
	}
	if !out.GetOk() {
		var b strings.Builder
		fmt.Fprintf(&b, "%d of %d gateways missed the message:", r.matched-r.queued, r.matched)
		for _, m := range r.missed {
			fmt.Fprintf(&b, " %s (%s)", m.gateway, m.reason)
		}
		out.Error = b.String()
	}
	return out
}

// ListTopics implements topicpb.TopicServiceServer.
func (s *topicService) ListTopics(_ context.Context, in *topicpb.ListTopicsRequest) (*topicpb.ListTopicsResponse, error) {
	limit := int(in.GetLimit())
	switch {
	case limit == 0:
		limit = defaultListLimit
	case limit > maxListLimit:
		return nil, invalid("limit", fmt.Errorf("must be <= %d, got %d", maxListLimit, limit))
	}
	var match func(string) bool
	if prefix := in.GetPrefix(); prefix != "" {
		match = func(topic string) bool { return strings.HasPrefix(topic, prefix) }
	}
	rows, total := s.registry.top(limit, match)
	out := &topicpb.ListTopicsResponse{Topics: make([]*topicpb.TopicInfo, len(rows)), Total: uint64(total)}
	for i, r := range rows {
		out.Topics[i] = &topicpb.TopicInfo{Topic: r.topic, Subscribers: r.subscribers, Gateways: uint32(r.gateways)}
	}
	return out, nil
}

// ListGateways implements topicpb.TopicServiceServer.
func (s *topicService) ListGateways(context.Context, *topicpb.ListGatewaysRequest) (*topicpb.ListGatewaysResponse, error) {
	gateways := s.bucket.gateways()
	out := &topicpb.ListGatewaysResponse{Gateways: make([]*topicpb.GatewayInfo, len(gateways))}
	for i, g := range gateways {
		messages, bytes := g.queue.size()
		out.Gateways[i] = &topicpb.GatewayInfo{
			Id: g.id, Epoch: g.epoch, RemoteAddr: g.remote, State: g.state.String(),
			Topics: uint64(g.index.topics.Load()), Subscribers: g.index.subscribers.Load(),
			QueuedMessages: uint64(messages), QueuedBytes: uint64(bytes),
			SentMessages: g.sent.Load(), DroppedMessages: g.dropped.Load(),
		}
	}
	return out, nil
}

// Offline implements topicpb.TopicServiceServer.
func (s *topicService) Offline(_ context.Context, in *topicpb.OfflineRequest) (*topicpb.OfflineResponse, error) {
	p := protocol.Packet{MessageID: s.messageID(), Source: protocol.SourcePlatform, Topic: in.GetTopic()}
	switch in.GetKind() {
	case topicpb.OfflineKind_OFFLINE_KIND_TOPIC:
		p.Type, p.Body = protocol.OfflineTopicKey, []byte(p.Topic) // not read, but legacy gateways need some body
	case topicpb.OfflineKind_OFFLINE_KIND_TOPIC_BY_USER_ID:
		p.Type, p.Body = protocol.OfflineTopicByUserIDKey, []byte(in.GetUserId())
	case topicpb.OfflineKind_OFFLINE_KIND_USER:
		p.Type, p.Body, p.Topic = protocol.OfflineUserKey, []byte(in.GetUserId()), protocol.HeartbeatTopic
	default:
		return nil, invalid("kind", fmt.Errorf("must be one of OfflineKind, got %d", in.GetKind()))
	}
	if p.Type != protocol.OfflineUserKey {
		if err := s.checkTopic("topic", p.Topic); err != nil {
			return nil, err
		}
	}
	if p.Type != protocol.OfflineTopicKey {
		if n := len(p.Body); n == 0 || n > maxUserID {
			return nil, invalid("user_id", fmt.Errorf("must be 1 to %d bytes, has %d", maxUserID, n))
		}
	}
	packet, err := protocol.Enpack(p)
	if err != nil {
		return nil, invalid("topic", err)
	}
	return &topicpb.OfflineResponse{Gateways: uint32(s.bucket.broadcast(packet))}, nil
}
