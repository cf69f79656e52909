package simulator

import (
	"bytes"

	"firetower/simulator/stamp"
)

// A message comes once to each of its subscribers, and is the same bytes every time. What was found out of them the first
// time holds for all that are equal, and to compare is a tenth of what checksum and digits take; so a joined message
// costs little more than its place in the ledger and the histograms.

// knownSize is how many messages are remembered: more than are on their way to one shard at a time, or the slots of
// two of them fall together now and then, which costs what a new message does.
const knownSize = 256

// knownMessages are the newest messages that were found to be ours, by the last digits of their sequence and topic.
type knownMessages [knownSize]known

// known is a message that was found to be ours: its bytes, and what they say.
type known struct {
	bytes    []byte // envelope and data
	envelope int    // how many of them are the envelope
	stamp    stamp.Stamp
}

// of is the slot of a message; it may hold another.
func (k *knownMessages) of(data []byte) *known {
	if len(data) < stamp.MinSize {
		return &k[0]
	}
	return &k[stamp.Slot(data)%knownSize]
}

// is tells whether the slot holds this very message.
func (k *known) is(envelope, data []byte) bool {
	return k.envelope == len(envelope) && len(k.bytes) == len(envelope)+len(data) &&
		bytes.Equal(k.bytes[k.envelope:], data) && bytes.Equal(k.bytes[:k.envelope], envelope)
}

// keep remembers a message in place of the slot's.
func (k *known) keep(envelope, data []byte, s stamp.Stamp) {
	k.bytes = append(append(k.bytes[:0], envelope...), data...)
	k.envelope, k.stamp = len(envelope), s
}
