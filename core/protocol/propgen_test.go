package protocol_test

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"

	"firetower/core/protocol"
)

// Generators. Each is made of bytes called genes, which a build method turns into
// the thing wanted, so that every value that shrinking can come to is a good one: gopter loses
// its shrinkers in Map and FlatMap, and values outside of their range in Weighted. Gene
// 0 is always the plainest choice, because that is what bytes shrink to.

// seed returns the seed of a property's generators, another each time unless
// FIRETOWER_PROP_SEED is set.
func seed(tb testing.TB) int64 {
	tb.Helper()
	s := time.Now().UnixNano()
	if text := os.Getenv("FIRETOWER_PROP_SEED"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			tb.Fatalf("FIRETOWER_PROP_SEED: must be an integer, is %q", text)
		}
		s = n
	}
	tb.Logf("FIRETOWER_PROP_SEED=%d", s)
	return s
}

// holds checks a property n times and reports the shrunk case with its seed.
// maxSize bounds how many elements a slice gets, not including maxSize.
func holds(t *testing.T, n, maxSize int, property gopter.Prop) {
	t.Helper()
	params := gopter.DefaultTestParametersWithSeed(seed(t))
	params.MinSuccessfulTests = n
	params.MaxSize = maxSize
	params.Workers = 1 // more would share one source of randomness: not to be repeated
	result := property.Check(params)
	if result.Passed() {
		return
	}
	var report strings.Builder
	fmt.Fprintf(&report, "%s after %d passed; FIRETOWER_PROP_SEED=%d\n", result.Status, result.Succeeded, params.Seed())
	for _, arg := range result.Args {
		fmt.Fprintf(&report, "shrunk %d times to: %s\nfrom: %s\n", arg.Shrinks, arg.Arg, arg.OrigArg)
	}
	t.Errorf("%s%s", &report, strings.Join(result.Labels, "\n"))
	if result.Error != nil {
		t.Errorf("%v\n%s", result.Error, result.ErrorStack)
	}
}

// structOf generates structs whose fields are all []byte or byte, or what more
// says for them.
func structOf[T any](more map[string]gopter.Gen) gopter.Gen {
	typ := reflect.TypeFor[T]()
	gens := map[string]gopter.Gen{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		switch g, ok := more[f.Name]; {
		case ok:
			gens[f.Name] = g
		case f.Type.Kind() == reflect.Slice:
			gens[f.Name] = gen.SliceOf(gen.UInt8())
		default:
			gens[f.Name] = gen.UInt8()
		}
	}
	return gen.StrictStruct(typ, gens)
}

// pick returns an element of a list by a gene.
func pick[T any](list []T, gene byte) T { return list[int(gene)%len(list)] }

// spell turns genes into text over an alphabet of pieces.
func spell(alphabet []string, genes []byte) string {
	var b strings.Builder
	for _, g := range genes {
		b.WriteString(pick(alphabet, g))
	}
	return b.String()
}

var (
	// fieldPieces may stand in a field of the header line.
	fieldPieces = []string{"a", "b", "-", "/", ",", "*", "0", "é", "火", "😀", "\xff", "\u00a0", "\u0085", protocol.Magic, "publish", "user"}
	// anyPieces holds what may not, too.
	anyPieces = append([]string{" ", "\n", "\r", "\x00", "\x7f", "\t"}, fieldPieces...)
	// bodyPieces are what a careless decoder takes for a packet.
	bodyPieces = []string{
		"x", "\x00", "\n", " ", "{}", "\xff", "é",
		"FireHeader", "FireHeade", "FireHeaderFireHeader",
		"FireHeader    ", "FireHeader\x7f\xff\xff\xff", "FireHeader\xff\xff\xff\xff", "FireHeader\x80\x00\x00\x00",
		"FireHeader\x00\x00\x00\x00", "FireHeader\x00\x00\x00\x06t   x\n", "FireHeader火",
		"FireHeader\x00\x80\x00\x00publish 1 user x\n",
	}
	types = []protocol.MessageType{
		protocol.PublishKey, protocol.HeartbeatKey, protocol.OfflineTopicKey, protocol.OfflineTopicByUserIDKey,
		protocol.OfflineUserKey, protocol.HelloKey, protocol.SnapshotKey, protocol.WelcomeKey, protocol.RefuseKey,
	}
	sources = []protocol.Source{protocol.SourceUser, protocol.SourcePlatform, protocol.SourceSystem}

	// topicSizes and bodySizes are reached by padding; 0 pads nothing. The
	// topic -1 fills the header line to its limit, -2 leaves one byte of it.
	topicSizes = []int{0, 0, 0, 0, 0, 0, 255, 256, 257, 4000, -1, -2}
	bodySizes  = []int{0, 0, 0, 0, 0, 0, 0, 0, 127, 128, 129, 255, 256, 257, 4095, 4096, 4097}
)

// packetGenes makes valid packets.
type packetGenes struct {
	Type, Source         byte
	OtherType, OtherFrom []byte
	ID, Topic, Body      []byte
	TopicSize, BodySize  byte
}

func genPacket() gopter.Gen { return structOf[packetGenes](nil) }

func (g packetGenes) packet() protocol.Packet {
	p := protocol.Packet{
		Type:      pick(types, g.Type),
		MessageID: spell(fieldPieces, g.ID),
		Source:    pick(sources, g.Source),
		Topic:     "t" + spell(fieldPieces, g.Topic),
		Body:      []byte(spell(bodyPieces, g.Body)),
	}
	if g.Type >= 200 {
		p.Type = protocol.MessageType("z" + spell(fieldPieces, g.OtherType))
	}
	if g.Source >= 200 {
		p.Source = protocol.Source(spell(fieldPieces, g.OtherFrom))
	}
	line := len(p.Type) + len(p.MessageID) + len(p.Source) + len(p.Topic) + 4
	size := pick(topicSizes, g.TopicSize)
	if size < 0 {
		size += 1 + protocol.MaxHeaderLine - line + len(p.Topic)
	}
	size = min(size, protocol.MaxHeaderLine-line+len(p.Topic))
	p.Topic += strings.Repeat("t", max(0, size-len(p.Topic)))
	p.Body = append(p.Body, strings.Repeat("b", max(0, pick(bodySizes, g.BodySize)-len(p.Body)))...)
	return p
}

func (g packetGenes) String() string { return describe(g.packet()) }

func describe(p protocol.Packet) string {
	return fmt.Sprintf("{type %q id %q source %q topic %s body %s}",
		p.Type, p.MessageID, p.Source, brief([]byte(p.Topic)), brief(p.Body))
}

// fieldGenes makes packets whose fields may hold anything.
type fieldGenes struct {
	Type, ID, Source, Topic, Body []byte
	Raw                           byte // 128 and more: the genes themselves, not pieces
}

func genFields() gopter.Gen { return structOf[fieldGenes](nil) }

func (g fieldGenes) packet() protocol.Packet {
	text := func(genes []byte) string {
		if g.Raw >= 128 {
			return string(genes)
		}
		return spell(anyPieces, genes)
	}
	return protocol.Packet{
		Type: protocol.MessageType(text(g.Type)), MessageID: text(g.ID),
		Source: protocol.Source(text(g.Source)), Topic: text(g.Topic), Body: g.Body,
	}
}

func (g fieldGenes) String() string { return describe(g.packet()) }

// streamGenes makes streams of packets, the parts in which they arrive, and damage.
type streamGenes struct {
	Packets []packetGenes
	Cuts    []byte
	// Damage holds triples: what to do, and two bytes that say where. None leaves the stream good.
	Damage []byte
}

func genStream(damaged bool) gopter.Gen {
	more := map[string]gopter.Gen{"Packets": gen.SliceOf(genPacket())}
	if !damaged {
		more["Damage"] = gen.SliceOfN(0, gen.UInt8())
	}
	return structOf[streamGenes](more)
}

func (g streamGenes) packets() []protocol.Packet {
	var packets []protocol.Packet
	for _, p := range g.Packets {
		packets = append(packets, p.packet())
	}
	return packets
}

func (g streamGenes) stream() []byte {
	var b []byte
	for _, p := range g.packets() {
		encoded, _ := oracleEncode(p)
		b = append(b, encoded...)
	}
	for d := g.Damage; len(d) >= 3; d = d[3:] {
		b = damage(b, d[0], int(d[1])<<8|int(d[2]))
	}
	return b
}

// damage changes b at a place; small numbers are places near the beginning, where
// the lengths are.
func damage(b []byte, what byte, where int) []byte {
	at := where % (len(b) + 1)
	head, tail := b[:at:at], b[at:]
	switch what % 6 {
	case 0: // the stream ends
		return head
	case 1: // a byte is lost
		if len(tail) > 0 {
			tail = tail[1:]
		}
		return append(head, tail...)
	case 2: // a bit is wrong
		if len(tail) > 0 {
			tail = append([]byte{tail[0] ^ 1<<(what/6%8)}, tail[1:]...)
		}
		return append(head, tail...)
	case 3: // something stands between
		return append(append(head, pick(bodyPieces, what/6)...), tail...)
	case 4: // control characters
		return append(append(head, what/6), tail...)
	default: // a piece comes twice
		return append(append(head, tail[:min(len(tail), int(what))]...), tail...)
	}
}

func (g streamGenes) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d packets in parts of %v, damage %v: %s", len(g.Packets), g.Cuts, g.Damage, brief(g.stream()))
	for _, p := range g.Packets {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// largeGenes makes packets of sizes that slices of genes never come to. It is not shrunk.
type largeGenes struct{ Sizes, Cuts []byte }

// largeSizes are the sizes of bodies on both sides of what a Reader does differently.
var largeSizes = []int{
	0, 65535, 65536, 65537,
	protocol.ReadBuffer - headerOverhead - 1, protocol.ReadBuffer - headerOverhead, protocol.ReadBuffer - headerOverhead + 1,
	1 << 20, 1<<20 - 1, 1<<20 + 1,
	protocol.TrustedSize - headerOverhead - 1, protocol.TrustedSize - headerOverhead, protocol.TrustedSize - headerOverhead + 1,
	2*protocol.TrustedSize - headerOverhead, 2*protocol.TrustedSize - headerOverhead + 1,
	protocol.DefaultMaxPacket - headerOverhead - 1, protocol.DefaultMaxPacket - headerOverhead,
}

// headerOverhead is what a packet of largeGenes takes beside its body.
const headerOverhead = protocol.HeaderSize + len("publish 1 user t\n")

func genLarge() gopter.Gen {
	return gen.StrictStruct(reflect.TypeFor[largeGenes](), map[string]gopter.Gen{
		"Sizes": gen.SliceOfN(3, gen.UInt8()),
		"Cuts":  gen.SliceOf(gen.UInt8Range(14, 19)), // not byte by byte
	})
}

// sizes are the sizes of the bodies.
func (g largeGenes) sizes() []int {
	var sizes []int
	for _, s := range g.Sizes {
		sizes = append(sizes, pick(largeSizes, s))
	}
	return sizes
}

func (g largeGenes) packets() []protocol.Packet {
	var packets []protocol.Packet
	for i, size := range g.sizes() {
		piece := pick(bodyPieces, g.Sizes[i]+byte(i))
		body := []byte(strings.Repeat(piece, size/len(piece)+1))[:size]
		packets = append(packets, protocol.Packet{Type: protocol.PublishKey, MessageID: "1", Source: protocol.SourceUser, Topic: "t", Body: body})
	}
	return packets
}

func (g largeGenes) String() string {
	return fmt.Sprintf("bodies of %v bytes, in parts of %v", g.sizes(), g.Cuts)
}
