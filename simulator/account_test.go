package simulator_test

import (
	"fmt"
	"testing"

	"firetower/simulator"
	"firetower/simulator/stamp"
)

// frames makes one published message after another, as it arrives at the connections.
func frames(n int, spoken string) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		data := stamp.Append(nil, stamp.Stamp{
			Run: runID, Phase: uint8(simulator.PhaseMeasure), Sequence: uint64(i + 1), Intended: 1e9, Actual: 1e9,
		}, 128)
		switch spoken {
		case simulator.SubprotocolV1:
			data = fmt.Appendf(nil, `{"type":"publish","topic":"loadtest-0","data":%s}`, data)
		case string(simulator.DialectCentrifugo):
			data = centrifugoLine("loadtest-0", data)
		case string(simulator.DialectNATS):
			data = natsLine("loadtest-0", data)
		}
		out[i] = data
	}
	return out
}

// spokens are the forms that a message arrives in.
var spokens = []string{
	simulator.SubprotocolV0, simulator.SubprotocolV1, string(simulator.DialectCentrifugo), string(simulator.DialectNATS),
}

// spokenAccount is an account that takes the form.
func spokenAccount(conns int, spoken string) simulator.Account {
	config := accountConfig(conns)
	if spoken != simulator.SubprotocolV0 && spoken != simulator.SubprotocolV1 {
		config.Dialect = simulator.Dialect(spoken)
	}
	return simulator.NewAccount(config)
}

func accountConfig(conns int) *simulator.Config {
	config := simulator.DefaultConfig()
	config.Connections, config.RunID = conns, runID
	return &config
}

// The accounting of a message in order allocates nothing, with or without an envelope.
func TestAccountAllocatesNothing(t *testing.T) {
	for _, spoken := range spokens {
		a := spokenAccount(1, spoken)
		messages := frames(300, spoken)
		now, i := int64(2e9), 0
		next := func() { a.Frame(0, messages[i], now); now += 1000; i++ }
		for range 90 { // the histograms of the phase and the first rows exist
			next()
		}
		if got := testing.AllocsPerRun(100, func() { a.Frame(0, messages[i], now) }); got != 0 {
			t.Errorf("%s: %v allocations for a message of a known row", spoken, got)
		}
	}
}

// BenchmarkAccount is what the ledger costs a message, beside the system calls: one message for each of the
// connections, then the next.
func BenchmarkAccount(b *testing.B) {
	for _, spoken := range spokens {
		for _, conns := range []int{1, 10_000} {
			b.Run(fmt.Sprintf("%s/conns=%d", spoken, conns), func(b *testing.B) {
				a := spokenAccount(conns, spoken)
				messages := frames(b.N/conns+1, spoken)
				now, conn, message := int64(2e9), 0, 0
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					a.Frame(conn, messages[message], now)
					now += 1000
					if conn++; conn == conns {
						conn, message = 0, message+1
					}
				}
			})
		}
	}
}
