package protocol_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/core/protocol"
)

var (
	// stringPieces stand inside of a JSON string; most may.
	stringPieces = []string{
		"a", ",", "b", "/", "é", "火", "😀", " ", "\\n", "\\\"", "\\\\", "\\/", "\\u0061", "\\u706B", "\\u0000", "\\u00a0",
		"\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\udfff", "\\ud83d\\ue000", "\\uD83D\\u0061", "\\\\ud83d", "\ufffd", "\\ufffd",
		"\xff", "\xe7\x81", "\xed\xa0\x80", "\n", "\x00", "\x7f", "\\x", "\\u12", "\\u00g0", "\\u00G0", "\\", "\"", strings.Repeat("t", 250),
	}
	// goodPieces are those of which topics are made.
	goodPieces = []string{"a", "a,b", "x,y,z", ",", "/", "é", "火", "😀", "\\u0061", "\\ud83d\\ude00", "\\/", "-"}
	typeValues = []string{
		`"subscribe"`, `"publish"`, `"unSubscribe"`, `"UNSUBSCRIBE"`, `"Publish"`, `"heartbeat"`, `"sub\u0073cribe"`, `"authenticate"`,
		`"offline_user"`, `"ſubscribe"`, `""`, `null`, `1`, `{}`, `["publish"]`,
	}
	dataValues = []string{
		`1`, `null`, `true`, `"text"`, `{}`, `[]`, `-0.5e+10`, `{"a":[1,{"b":null}]}`, ` [ 1 , 2 ] `, `{"a":1,"a":2}`,
		`"\ud83d"`, `01`, `-`, `1.`, `.5`, `1e`, `+1`, `tru`, `nul`, `NaN`, `{"a"}`, `{"a":}`, `[1,]`, `{,}`, `'a'`,
		`[[[[[[[[]]]]]]]]`, strings.Repeat("[", 70), arrays(62), objects(3), objects(63), arrays(64), objects(64),
	}
	keyValues = []string{`"other"`, `"type"`, `"topic"`, `"data"`, `"id"`, `"token"`, `"t\u0079pe"`, `"Type"`, `""`, `"\ud800"`, `type`, `1`, `null`}
	soup      = append([]string{
		"{", "}", "[", "]", ":", ",", `"type"`, `"subscribe"`, `"topic"`, `"a,b"`, `"data"`, `"id"`, " ", "\n", "null", "true",
		"1", "-", ".", "e", `"`, `\`, "heartbeat", "\xff", "\ufeff", "\x00", "//",
	}, dataValues...)
)

// valueGenes make the value of one member. Kind 0 leaves the member out.
type valueGenes struct {
	Kind, Pick byte
	Text       []byte
}

// value returns a JSON value, or almost one; ok is false when the member is not there.
func (g valueGenes) value(usual []string) (value string, ok bool) {
	switch {
	case g.Kind < 16:
		return "", false
	case g.Kind < 96 && usual != nil:
		return pick(usual, g.Pick), true
	case g.Kind < 200:
		return `"` + spell(goodPieces, g.Text) + `"`, true
	case g.Kind < 230:
		return `"` + spell(stringPieces, g.Text) + `"`, true
	default:
		return pick(dataValues, g.Pick), true
	}
}

// frameGenes make frames that are requests, or nearly.
type frameGenes struct {
	Type, Topic, Data, ID, Token valueGenes
	More                         []memberGenes
	Rotate                       byte
	Damage                       []byte // triples, as in a stream
}

// memberGenes make a further member, known or not.
type memberGenes struct {
	Key   byte
	Value valueGenes
}

func genFrame() gopter.Gen {
	value := structOf[valueGenes](nil)
	return structOf[frameGenes](map[string]gopter.Gen{
		"Type": value, "Topic": value, "Data": value, "ID": value, "Token": value,
		"More":   gen.SliceOf(structOf[memberGenes](map[string]gopter.Gen{"Value": value})),
		"Damage": gen.OneGenOf(gen.SliceOfN(0, gen.UInt8()), gen.SliceOfN(0, gen.UInt8()), gen.SliceOfN(3, gen.UInt8())),
	})
}

func (g frameGenes) frame() []byte {
	var members []string
	add := func(key string, v valueGenes, usual []string) {
		if value, ok := v.value(usual); ok {
			members = append(members, key+":"+value)
		}
	}
	add(`"type"`, g.Type, typeValues)
	add(`"topic"`, g.Topic, nil)
	add(`"data"`, g.Data, dataValues)
	add(`"id"`, g.ID, nil)
	add(`"token"`, g.Token, nil)
	for i, m := range g.More {
		if i < 3 {
			add(pick(keyValues, m.Key), m.Value, dataValues)
		}
	}
	if n := len(members); n > 0 {
		at := int(g.Rotate) % n
		members = append(members[at:n:n], members[:at]...)
	}
	b := []byte("{" + strings.Join(members, ",") + "}")
	for d := g.Damage; len(d) >= 3; d = d[3:] {
		b = damage(b, d[0], int(d[1])<<8|int(d[2]))
	}
	return b
}

func (g frameGenes) String() string { return fmt.Sprintf("%q", g.frame()) }

// soupGenes make pieces of JSON in no order.
type soupGenes struct{ Soup []byte }

func (g soupGenes) bytes() []byte { return []byte(spell(soup, g.Soup)) }

func (g soupGenes) String() string { return fmt.Sprintf("%q", g.bytes()) }

// dataGenes make published data: JSON, text and bytes, and a topic.
type dataGenes struct {
	Kind        byte
	Topic, Data []byte
}

func (g dataGenes) data() []byte {
	switch g.Kind % 4 {
	case 0:
		return []byte(spell(soup, g.Data))
	case 1:
		return []byte(`"` + spell(stringPieces, g.Data) + `"`)
	case 2:
		return g.Data
	default:
		return []byte(spell(dataValues, g.Data[:min(1, len(g.Data))]))
	}
}

func (g dataGenes) topic() string { return spell(anyPieces, g.Topic) }

func (g dataGenes) String() string { return fmt.Sprintf("topic %q, data %q", g.topic(), g.data()) }

func TestPropertyRequestsAreReadAsTheOracleReadsThem(t *testing.T) {
	holds(t, 3000, 6, prop.ForAll(func(g frameGenes) string {
		return checkRequest(g.frame(), protocol.DefaultRequestLimits())
	}, genFrame()))
}

func TestPropertyNoFrameIsACrash(t *testing.T) {
	holds(t, 3000, 30, prop.ForAll(func(g soupGenes) string {
		return checkRequest(g.bytes(), protocol.RequestLimits{MaxTopics: 3, MaxTopicBytes: 5, MaxDepth: 8})
	}, structOf[soupGenes](nil)))
}

func TestPropertyPushIsJSONAndKeepsTheData(t *testing.T) {
	holds(t, 3000, 40, prop.ForAll(func(g dataGenes) string {
		return checkPush(g.topic(), g.data())
	}, structOf[dataGenes](nil)))
}

// answerGenes make what goes into replies and errors: any bytes.
type answerGenes struct {
	Type, ID, Reason, Topic, Code []byte
	Topics                        byte
}

func (g answerGenes) String() string {
	return fmt.Sprintf("type %q id %q reason %q topic %q code %q, %d topics", g.Type, g.ID, g.Reason, g.Topic, g.Code, g.Topics%4)
}

func TestPropertyAnswersAreJSON(t *testing.T) {
	clean := func(b []byte) string { return string([]rune(string(b))) } // as JSON has it: UTF-8
	holds(t, 1000, 40, prop.ForAll(func(g answerGenes) string {
		return guard(func() string {
			var results []protocol.TopicResult
			for i := range g.Topics % 4 {
				results = append(results, protocol.TopicResult{Topic: string(g.Topic), Code: protocol.ErrorCode(g.Code[:int(i)%(len(g.Code)+1)])})
			}
			frame := protocol.AppendReply(nil, string(g.Type), string(g.ID), results)
			var reply struct {
				Type, ID string
				OK       bool
				Topics   []struct {
					Topic, Code string
					OK          bool
				}
			}
			if err := json.Unmarshal(frame, &reply); err != nil || !utf8.Valid(frame) {
				return fmt.Sprintf("reply %q: %v", frame, err)
			}
			ok := true
			for i, r := range results {
				got := reply.Topics[i]
				if got.Topic != clean(g.Topic) || got.Code != clean([]byte(r.Code)) || got.OK != (r.Code == "") {
					return fmt.Sprintf("reply %q, topic %d", frame, i)
				}
				ok = ok && got.OK
			}
			if reply.Type != clean(g.Type) || reply.ID != clean(g.ID) || reply.OK != ok || len(reply.Topics) != len(results) {
				return fmt.Sprintf("reply %q", frame)
			}
			frame = protocol.AppendError(nil, protocol.ErrorCode(g.Code), string(g.Reason), string(g.ID))
			var failure struct{ Type, Code, Reason, ID string }
			if err := json.Unmarshal(frame, &failure); err != nil || !utf8.Valid(frame) ||
				failure.Type != "error" || failure.Code != clean(g.Code) || failure.Reason != clean(g.Reason) || failure.ID != clean(g.ID) {
				return fmt.Sprintf("error %q: %v", frame, err)
			}
			return ""
		})
	}, structOf[answerGenes](nil)))
}

// Beside the packets' TestGeneratorsReachTheHardCases.
func TestFrameGeneratorsReachTheHardCases(t *testing.T) {
	seen := map[string]int{}
	params := gopter.DefaultGenParameters()
	params.Rng = rand.New(rand.NewSource(1))
	draw := func(g gopter.Gen, maxSize int) any {
		value, ok := g(params.WithSize(params.Rng.Intn(maxSize))).Retrieve()
		if !ok {
			t.Fatal("a generator gave up")
		}
		return value
	}
	frames, soups, datas := genFrame(), structOf[soupGenes](nil), structOf[dataGenes](nil)
	for range 6000 {
		frame := draw(frames, 6).(frameGenes).frame()
		v := oracleRequest(frame, protocol.DefaultRequestLimits())
		seen[fmt.Sprintf("request %q, refused %q, close %v", v.req.Type, v.code, v.close)]++
		if lonely(frame) && json.Valid(frame) {
			seen["request with a lone surrogate"]++
		}
		if v.code == "" && len(v.req.Topics) > 1 && v.req.HasID {
			seen["request for several topics with an id"]++
		}
		if json.Valid(draw(soups, 30).(soupGenes).bytes()) {
			seen["soup that is JSON"]++
		}
		data := draw(datas, 40).(dataGenes).data()
		seen[fmt.Sprintf("data: JSON %v, UTF-8 %v", json.Valid(data), utf8.Valid(data))]++
	}
	for _, name := range []string{
		`request "subscribe", refused "", close false`,
		`request "unSubscribe", refused "", close false`,
		`request "publish", refused "", close false`,
		`request "heartbeat", refused "", close false`,
		`request "authenticate", refused "", close false`,
		`request "", refused "bad_request", close true`,
		`request "", refused "bad_request", close false`,
		`request "", refused "unknown_type", close false`,
		`request "", refused "bad_topic", close false`,
		"request with a lone surrogate",
		"request for several topics with an id",
		"soup that is JSON",
		"data: JSON true, UTF-8 true",
		"data: JSON false, UTF-8 true",
		"data: JSON false, UTF-8 false",
	} {
		if seen[name] < 3 {
			t.Errorf("made %d times: %s", seen[name], name)
		}
	}
}
