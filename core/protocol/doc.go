// Package protocol owns the bytes that Firetower's parts exchange: the
// FireHeader packets between manager and gateways, and the JSON text frames
// between a gateway and its WebSocket clients. It knows no socket, no queue, no
// clock and no topic registry; it imports the standard library only, allocates
// what its callers asked for and no more, and keeps no state between calls.
//
// # FireHeader packets
//
// A link (TCP, port 6666) carries packets back to back, in both directions:
//
//	 0                   10          14                          14+L
//	+---------------------+-----------+---------------------------+
//	| "FireHeader"        | length L  | header line      | body   |
//	| 10 bytes, ASCII     | int32, BE | text, ends in LF | bytes  |
//	+---------------------+-----------+---------------------------+
//	                                   \________ L bytes ________/
//
//	header line:
//	+------+----+------------+----+--------+----+-------+----+
//	| type | SP | message id | SP | source | SP | topic | LF |
//	+------+----+------------+----+--------+----+-------+----+
//
// The length counts what follows it: the header line, its LF and the body. The
// body is any bytes, none included, and is never searched for anything.
//
// The header line has no escaping, so it is unambiguous only while no field
// holds a separator. Therefore a field holds no byte up to 0x20 (controls, LF
// and space) and no 0x7F; type and topic are not empty; message id and source may
// be (existing gateways send packets without an id, which shows as two spaces in a
// row); and the line with its LF has at most [MaxHeaderLine] bytes. What breaks
// a rule is refused on both sides: by [Enpack] with a [*FieldError], by [Depack]
// and [Reader] with [ErrBadHeader]. A packet that one side accepts is exactly a packet that the
// other side can produce. Fields need not be UTF-8: a link relays the names that its
// peers use. What clients may name is the narrower [ValidTopic].
//
// A decoder trusts no length. It is compared to the limit before anything is allocated, and
// a negative one is the same as one that is too large. A packet that does not begin with the magic
// ends the link: there is no searching for the next one, since a body may well
// contain it.
//
// # Client frames
//
// A client sends JSON text frames; [ParseRequest] reads them:
//
//	{"type":"subscribe|unSubscribe|publish","topic":"a,b","data":ANY,"id":"optional"}
//
// With subprotocol [SubprotocolV1] the gateway sends
//
//	{"type":"publish","topic":"a","data":ANY}                               AppendPushV1
//	{"type":"publish","topic":"a","data":"not JSON","encoding":"text"}      AppendPushV1
//	{"type":"publish","topic":"a","data":"/wA=","encoding":"base64"}        AppendPushV1
//	{"type":"subscribe","id":"7","ok":true,"topics":[{"topic":"a","ok":true}]}  AppendReply
//	{"type":"error","code":"bad_topic","reason":"...","id":"7"}             AppendError
//
// With [SubprotocolV0], and for a client that names no subprotocol, a push is the
// published data alone, nothing is answered, and the text frame [HeartbeatFrame]
// goes out now and then.
//
// Why a connection was ended is told by its close code: see the constants from
// [CloseProtocol] on.
package protocol
