package protocol

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// What the member "encoding" of a push says about its data. Without it the data are JSON.
const (
	EncodingText   = "text"   // data are the characters of the string
	EncodingBase64 = "base64" // data are the bytes that the string decodes to (RFC 4648, section 4)
)

// maxPushData is how deeply published JSON may be nested to stand in a push as
// it is: the push itself is one level.
const maxPushData = defaultDepth - 1

// AppendPushV1 appends the frame that takes data, whatever it is, to v1 subscribers
// of topic. It is JSON in any case:
//
//   - data that is one JSON value, nested less than 64 levels deep, stands there as it
//     is, but for white space around it;
//   - other UTF-8 is a string, with "encoding":"text";
//   - other bytes are a base64 string, with "encoding":"base64".
//
// It is called once for a message, not for each client.
func AppendPushV1(dst []byte, topic string, data []byte) []byte {
	dst = append(dst, `{"type":"publish","topic":`...)
	dst = appendString(dst, topic)
	dst = append(dst, `,"data":`...)
	value := bytes.Trim(data, " \t\n\r")
	if end, err := scanValue(value, 0, maxPushData); err == nil && end == len(value) {
		dst = append(dst, value...)
		return append(dst, '}')
	}
	if utf8.Valid(data) {
		dst = appendString(dst, data)
		return append(dst, `,"encoding":"`+EncodingText+`"}`...)
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, `","encoding":"`+EncodingBase64+`"}`...)
}

// TopicResult is what became of a request for one of its topics: Code says why it
// failed, and is empty when it did not.
type TopicResult struct {
	Topic string
	Code  ErrorCode
}

// AppendReply appends the answer to the request of type typ with the given id. Its "ok" is
// true when each topic's is.
func AppendReply(dst []byte, typ, id string, topics []TopicResult) []byte {
	dst = append(dst, `{"type":`...)
	dst = appendString(dst, typ)
	dst = appendID(dst, id)
	ok := true
	for _, t := range topics {
		ok = ok && t.Code == ""
	}
	dst = append(dst, `,"ok":`...)
	dst = appendBool(dst, ok)
	dst = append(dst, `,"topics":[`...)
	for i, t := range topics {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"topic":`...)
		dst = appendString(dst, t.Topic)
		dst = append(dst, `,"ok":`...)
		dst = appendBool(dst, t.Code == "")
		if t.Code != "" {
			dst = append(dst, `,"code":`...)
			dst = appendString(dst, string(t.Code))
		}
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}

// AppendError appends the frame that tells a v1 client of an error. An empty id means that the
// error answers no request, or one without an id; the frame then has none.
func AppendError(dst []byte, code ErrorCode, reason, id string) []byte {
	dst = append(dst, `{"type":"error","code":`...)
	dst = appendString(dst, string(code))
	dst = append(dst, `,"reason":`...)
	dst = appendString(dst, reason)
	dst = appendID(dst, id)
	return append(dst, '}')
}

func appendID(dst []byte, id string) []byte {
	if id == "" {
		return dst
	}
	dst = append(dst, `,"id":`...)
	return appendString(dst, id)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0 // s[start:i] is plain and not yet appended
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			// At most UTFMax bytes are converted, which stay on the stack.
			r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c >= utf8.RuneSelf {
				dst = append(dst, "\ufffd"...)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
			}
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
