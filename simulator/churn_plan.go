package simulator

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ChurnPlan asks for topics that connections come to and leave, beside those of the [TopicPlan] and numbered behind
// them: their indexes are Topics.Count to Topics.Count+Topics-1. Every healthy connection is at one of them: connection
// i, counted over the whole run, begins at Topics.Count + i mod Topics. From the moment when all of a shard's
// connections have subscribed or failed, changes are due at start + k/Rate, whatever became of the ones before: one
// request leaves the old topic and another, behind it, joins a new one. The seed chooses the connection and the topic.
type ChurnPlan struct {
	// Topics is how many there are. 0 is no churn; a Rate above 0 needs 2. Default 0.
	Topics int `json:"topics"`
	// Rate is the changes of this fleet in a second. Default 0.
	Rate float64 `json:"rate"`
	// Seed makes the choices. Default 0.
	Seed uint64 `json:"seed"`
	// Grace is how old a message must be when its connection asks to leave, to be due to it: see [ChurnReport].
	// Default 1s in DefaultConfig.
	Grace time.Duration `json:"grace"`
}

func (p ChurnPlan) validate(config *Config) error {
	if p.Topics == 0 {
		return nil
	}
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if p.Topics < 0 || p.Topics > math.MaxInt32-config.Topics.Count {
		bad("churn.topics: must be from 0 to %d, got %d", math.MaxInt32-config.Topics.Count, p.Topics)
	}
	if p.Rate < 0 || math.IsNaN(p.Rate) || math.IsInf(p.Rate, 0) {
		bad("churn.rate: must be >= 0 and finite, got %v", p.Rate)
	}
	if p.Rate > 0 && p.Topics == 1 {
		bad("churn.topics: must be >= 2, or there is no other topic to change to, got 1")
	}
	if p.Grace < 0 {
		bad("churn.grace: must be >= 0, got %v", p.Grace)
	}
	if config.Subprotocol != SubprotocolV1 || config.Dialect != "" && config.Dialect != DialectFiretower {
		bad("churn.topics: needs subprotocol %q: any other leaves open when a subscription begins", SubprotocolV1)
	}
	return errors.Join(problems...)
}

// ChurnReport is the account of the topics that connections came to and left, over the phases that Finish was told of.
// A visit lasts from the answer to the request that joins until the request that leaves, until the connection is lost or
// until Finish. A message is due to it when it was sent within it and was [ChurnPlan.Grace] old or more at its end.
// Numbers of several fleets add up.
type ChurnReport struct {
	// Changes were asked for. Refused of them were answered with a no, and Unanswered were not answered at all before
	// the connection or the run ended.
	Changes    int64 `json:"changes"`
	Refused    int64 `json:"refused"`
	Unanswered int64 `json:"unanswered"`
	// Skipped changes were due and not asked for: no connection was at hand that was up and had no change under way.
	Skipped int64 `json:"skipped"`
	// Due = Received + Lost. All are pairs of a message and a visit.
	Due      int64 `json:"due"`
	Received int64 `json:"received"`
	Lost     int64 `json:"lost"`
	// Duplicated counts every arrival of a pair after its first, and the rare message that comes more than 64 sequences
	// late. Reordered arrived after a message with a higher sequence of the same publisher and topic.
	Duplicated int64 `json:"duplicated"`
	Reordered  int64 `json:"reordered"`
	// Extra arrived, were not due and may be so: they were sent before the visit was answered, or too short before its
	// end. What a connection gets of a topic that it never asked for, or that was sent after the server had told it
	// that it had left and came before it asked again, is foreign: see [PhaseReport.Foreign].
	Extra int64 `json:"extra"`
}

func (r *ChurnReport) add(from *ChurnReport) {
	r.Changes += from.Changes
	r.Refused += from.Refused
	r.Unanswered += from.Unanswered
	r.Skipped += from.Skipped
	r.Due += from.Due
	r.Received += from.Received
	r.Lost += from.Lost
	r.Duplicated += from.Duplicated
	r.Reordered += from.Reordered
	r.Extra += from.Extra
}

// churnPace says when changes are due in one shard.
type churnPace struct {
	rate  float64 // per second; 0 is none
	start int64   // ns
	made  uint64
}

func newChurnPace(config *Config, healthy int) churnPace {
	if config.Churn.Topics == 0 || healthy == 0 {
		return churnPace{}
	}
	return churnPace{rate: config.Churn.Rate * float64(healthy) / float64(config.Healthy())}
}

// running says that changes are to be made.
func (p *churnPace) running() bool { return p.rate > 0 && p.start != 0 }

// next is when the next change is due.
func (p *churnPace) next() int64 {
	return p.start + int64(float64(p.made+1)/p.rate*float64(time.Second))
}
