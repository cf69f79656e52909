package manager

import (
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"firetower/core/topicpb"
)

// publishCodec is gRPC's codec of protocol buffers, but for the request of Publish and PublishStream and their answer,
// which it reads and writes without reflection: that is a twentieth of what a message costs the manager. What it does not
// expect (an unknown field, a wrong wire type, text that is not UTF-8) it leaves to the codec within, whose answer counts.
// An answer is made here and has no unknown fields.
type publishCodec struct{ encoding.CodecV2 }

func newPublishCodec() publishCodec { return publishCodec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c publishCodec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*topicpb.PublishRequest)
	if !ok || len(data) != 1 || !readPublishRequest(data[0].ReadOnlyData(), in) {
		return c.CodecV2.Unmarshal(data, v)
	}
	return nil
}

// Marshal implements encoding.CodecV2.
func (c publishCodec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(*topicpb.PublishResponse)
	if !ok || out.GetError() != "" {
		return c.CodecV2.Marshal(v)
	}
	return mem.BufferSlice{mem.SliceBuffer(appendPublishResponse(make([]byte, 0, publishResponseSize), out))}, nil
}

// readPublishRequest reads a request into in, which is empty, and reports whether it could. What it has read shares
// nothing with b.
func readPublishRequest(b []byte, in *topicpb.PublishRequest) bool {
	var r struct {
		topic, id, source, data []byte
		within, every           uint64
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		switch typ {
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			if num != 2 && !utf8.Valid(v) {
				return false
			}
			switch num {
			case 1:
				r.topic = v
			case 2:
				r.data = v
			case 3:
				r.id = v
			case 4:
				r.source = v
			default:
				return false
			}
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			switch num {
			case 5:
				r.within = v
			case 6:
				r.every = v
			default:
				return false
			}
		default:
			return false
		}
	}
	in.Topic, in.MessageId, in.Source = string(r.topic), string(r.id), string(r.source)
	in.Data = append([]byte(nil), r.data...)
	in.AckWithinMs, in.AckEvery = uint32(r.within), uint32(r.every) // a longer varint is cut off, as protobuf does
	return true
}

// publishResponseSize is the most that a response without an error takes: a bool and three numbers.
const publishResponseSize = 2 + 3*6

func appendPublishResponse(b []byte, out *topicpb.PublishResponse) []byte {
	if out.GetOk() {
		b = append(b, 1<<3|byte(protowire.VarintType), 1)
	}
	for i, v := range [...]uint32{2: out.GetGatewaysMatched(), 3: out.GetGatewaysQueued(), 5: out.GetMessages()} {
		if v != 0 {
			b = protowire.AppendVarint(append(b, byte(i)<<3|byte(protowire.VarintType)), uint64(v))
		}
	}
	return b
}
