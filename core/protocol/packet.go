package protocol

import "math"

// The frame of a packet.
const (
	// Magic begins every packet.
	Magic = "FireHeader"
	// HeaderSize is how many bytes stand before the header line: magic and length.
	HeaderSize = len(Magic) + 4
	// MaxHeaderLine is the most bytes of a header line, its LF included. Existing
	// peers read the line through a buffer of this size and cut a longer one.
	MaxHeaderLine = 4096
	// DefaultMaxPacket is the largest packet, in bytes, magic and length included,
	// that a decoder accepts when it is given no other limit.
	DefaultMaxPacket = 8 << 20

	// minLine is the shortest header line: a type and a topic of one byte, three
	// spaces, LF.
	minLine = 6
	// maxLength is the largest value of the length field, a signed 32-bit integer.
	maxLength = math.MaxInt32
)

// HeartbeatTopic stands for "no topic" in packets that concern a whole link or a
// user: an empty topic is not allowed.
const HeartbeatTopic = "*"

// MessageType says what a packet is for. Decoders pass types that they do not
// know: what to do with them is for the receiver to say.
type MessageType string

// The types of packets.
const (
	// PublishKey carries a message for the subscribers of a topic.
	PublishKey MessageType = "publish"
	// HeartbeatKey shows that the sender is alive; see [HeartbeatPacket].
	HeartbeatKey MessageType = "heartbeat"
	// OfflineTopicKey takes a topic from all its subscribers. The body is not read; to an existing
	// gateway it must not be empty, see [Packet].
	OfflineTopicKey MessageType = "offline_topic"
	// OfflineTopicByUserIDKey takes a topic from one user, whose id is the body.
	OfflineTopicByUserIDKey MessageType = "offline_topic_by_userid"
	// OfflineUserKey disconnects the user whose id is the body. The topic is "*".
	OfflineUserKey MessageType = "offline_user"

	// HelloKey is the first packet of one of our gateways; body: LinkHello.
	HelloKey MessageType = "hello"
	// SnapshotKey follows the hello, once or more; body: LinkSnapshot.
	SnapshotKey MessageType = "snapshot"
	// WelcomeKey is the manager's answer to the last snapshot; body: LinkWelcome.
	WelcomeKey MessageType = "welcome"
	// RefuseKey is the manager's last packet on a link that it refuses; body: LinkRefuse.
	RefuseKey MessageType = "refuse"
)

// Source says who made a message.
type Source string

// The sources of messages.
const (
	// SourceUser is a client.
	SourceUser Source = "user"
	// SourcePlatform is a server of the application, publishing over gRPC.
	SourcePlatform Source = "platform"
	// SourceSystem is Firetower itself.
	SourceSystem Source = "system"
)

// Packet is one message on a link, decoded. The package comment tells what
// each field may hold.
type Packet struct {
	Type      MessageType
	MessageID string
	Source    Source
	Topic     string
	// Body is nil in a decoded packet that has none. A packet without a body is
	// a good packet, but peers of before this package never get past one: do not send
	// one to a gateway that said no hello.
	Body []byte
}

// What every heartbeat says.
const (
	heartbeatID   = "0"
	heartbeatBody = "heartbeat"
)

// HeartbeatPacket returns the packet that keeps a link alive, the same as existing managers send.
func HeartbeatPacket() Packet {
	return Packet{
		Type:      HeartbeatKey,
		MessageID: heartbeatID,
		Source:    SourceSystem,
		Topic:     HeartbeatTopic,
		Body:      []byte(heartbeatBody),
	}
}

// PacketSize returns the number of bytes that p takes on a link, whether or not
// p is valid. Compare it to the link's limit before a packet is queued: a peer
// ends the link over a packet that is larger than its limit.
func PacketSize(p Packet) int {
	return HeaderSize + lineSize(p) + len(p.Body)
}

// lineSize is the size of p's header line: four fields, three spaces, LF.
func lineSize(p Packet) int {
	return len(p.Type) + len(p.MessageID) + len(p.Source) + len(p.Topic) + 4
}
