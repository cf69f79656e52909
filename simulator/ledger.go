package simulator

import (
	"math/bits"
	"slices"
)

// stream is what one connection remembers of one publisher's messages on one topic: enough to tell, for each sequence
// that arrives, whether it is new, late or a repetition. It is 16 bytes, and an arrival in order costs a comparison
// and a shift; only gaps that have moved out of the window take memory of their own.
type stream struct {
	high   uint64 // the highest sequence seen; 0 is none
	window uint64 // bit k says that sequence high-k has been seen; sequences below 1 count as seen
}

// windowBits is how many sequences a window covers. Messages that are on their way at the same time, up to that many,
// may come in any order without leaving the window.
const windowBits = 64

func newStream() stream { return stream{window: ^uint64(0)} }

// arrival is what the ledger makes of one message.
type arrival uint8

const (
	inOrder arrival = iota
	reordered
	duplicated
)

// gaps keeps the sequences that left the window of a stream without having been seen, for all streams of a shard. Runs
// without loss never touch it.
type gaps struct {
	byStream  map[int][]gap
	count     int
	limit     int
	forgotten int64
}

// gap is a run of unseen sequences, both ends included.
type gap struct{ from, to uint64 }

func newGaps(limit int) *gaps { return &gaps{byStream: make(map[int][]gap), limit: limit} }

// arrive notes sequence seq, which is not 0, of the stream with index at.
func (s *stream) arrive(seq uint64, at int, g *gaps) arrival {
	if seq > s.high {
		s.advance(seq, at, g)
		return inOrder
	}
	if back := s.high - seq; back < windowBits {
		bit := uint64(1) << back
		if s.window&bit != 0 {
			return duplicated
		}
		s.window |= bit
		return reordered
	}
	if g.fill(at, seq) {
		return reordered
	}
	return duplicated
}

// advance moves the window up to seq, and remembers what leaves it unseen.
func (s *stream) advance(seq uint64, at int, g *gaps) {
	step := seq - s.high
	if step >= windowBits {
		s.leave(windowBits, at, g)
		if from, to := s.high+1, seq-windowBits; from <= to {
			g.add(at, gap{from, to})
		}
		s.window = 1
	} else {
		s.leave(int(step), at, g)
		s.window = s.window<<step | 1
	}
	s.high = seq
}

// leave remembers the unseen ones of the n lowest sequences in the window.
func (s *stream) leave(n int, at int, g *gaps) {
	unseen := ^s.window >> (windowBits - n) << (windowBits - n)
	for unseen != 0 {
		back := windowBits - 1 - bits.LeadingZeros64(unseen)
		unseen &^= 1 << back
		seq := s.high - uint64(back)
		g.add(at, gap{seq, seq})
	}
}

// add remembers a gap. Gaps of a stream come in rising order.
func (g *gaps) add(at int, gp gap) {
	list := g.byStream[at]
	if n := len(list); n > 0 && list[n-1].to+1 == gp.from {
		list[n-1].to = gp.to
		return
	}
	if g.count >= g.limit {
		g.forgotten++
		return
	}
	g.count++
	g.byStream[at] = append(list, gp)
}

// fill takes seq out of the gaps of a stream, and says whether it was in one.
func (g *gaps) fill(at int, seq uint64) bool {
	list := g.byStream[at]
	i, _ := slices.BinarySearchFunc(list, seq, func(gp gap, seq uint64) int {
		if gp.to < seq {
			return -1
		}
		return 1
	})
	if i == len(list) || list[i].from > seq {
		return false
	}
	gp := list[i]
	switch {
	case gp.from == gp.to:
		g.byStream[at] = slices.Delete(list, i, i+1)
		g.count--
	case seq == gp.from:
		list[i].from++
	case seq == gp.to:
		list[i].to--
	default:
		list[i].to = seq - 1
		if g.count >= g.limit {
			g.forgotten++
			return true
		}
		g.count++
		g.byStream[at] = slices.Insert(list, i+1, gap{seq + 1, gp.to})
	}
	return true
}
