package protocol

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// DefaultMaxTopic is the longest topic, in bytes, where no other limit is given.
const DefaultMaxTopic = 255

// ValidTopic tells whether clients and publishers may name a topic: it is
// UTF-8, not empty, has at most limit bytes (below 1 means [DefaultMaxTopic]), and
// holds no control character, no white space and no comma, which separates the topics
// of a request. The error is a [*FieldError].
//
// Every valid topic fits a packet. The reverse is not so: a link also relays what
// existing peers send, see the package comment.
func ValidTopic(topic string, limit int) error {
	if bad := topicFault(topic, limit); bad != nil {
		return bad
	}
	return nil // not bad itself: a nil pointer in an error is not nil
}

func topicFault(topic string, limit int) *FieldError {
	if limit < 1 {
		limit = DefaultMaxTopic
	}
	switch {
	case topic == "":
		return fieldError("topic", topic, "must not be empty")
	case len(topic) > limit:
		return fieldError("topic", topic, fmt.Sprintf("must be at most %d bytes, has %d", limit, len(topic)))
	}
	for i, c := range topic {
		switch {
		case c == utf8.RuneError && !isReplacement(topic[i:]):
			return fieldError("topic", topic, fmt.Sprintf("must be UTF-8, is not at byte %d", i))
		case c == ',' || unicode.IsControl(c) || unicode.IsSpace(c):
			return fieldError("topic", topic,
				fmt.Sprintf("must not contain comma, space or control characters, has %U at byte %d", c, i))
		}
	}
	return nil
}

// isReplacement tells an encoded U+FFFD from a byte that ranging over a string
// turns into one.
func isReplacement(s string) bool {
	_, size := utf8.DecodeRuneInString(s)
	return size > 1
}
