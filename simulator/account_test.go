package simulator_test

import (
	"fmt"
	"testing"

	"firetower/simulator"
	"firetower/simulator/stamp"
)

// frames makes one published message after another, as it arrives at the connections.
func frames(n int, subprotocol string) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		data := stamp.Append(nil, stamp.Stamp{
			Run: runID, Phase: uint8(simulator.PhaseMeasure), Sequence: uint64(i + 1), Intended: 1e9, Actual: 1e9,
		}, 128)
		if subprotocol == simulator.SubprotocolV1 {
			data = fmt.Appendf(nil, `{"type":"publish","topic":"loadtest-0","data":%s}`, data)
		}
		out[i] = data
	}
	return out
}

func accountConfig(conns int) *simulator.Config {
	config := simulator.DefaultConfig()
	config.Connections, config.RunID = conns, runID
	return &config
}

// The accounting of a message in order allocates nothing, with or without an envelope.
func TestAccountAllocatesNothing(t *testing.T) {
	for _, subprotocol := range []string{simulator.SubprotocolV0, simulator.SubprotocolV1} {
		a := simulator.NewAccount(accountConfig(1))
		messages := frames(300, subprotocol)
		now, i := int64(2e9), 0
		next := func() { a.Frame(0, messages[i], now); now += 1000; i++ }
		for range 90 { // the histograms of the phase and the first rows exist
			next()
		}
		if got := testing.AllocsPerRun(100, func() { a.Frame(0, messages[i], now) }); got != 0 {
			t.Errorf("%s: %v allocations for a message of a known row", subprotocol, got)
		}
	}
}

// BenchmarkAccount is what the ledger costs a message, beside the system calls: one message for each of the
// connections, then the next.
func BenchmarkAccount(b *testing.B) {
	for _, subprotocol := range []string{simulator.SubprotocolV0, simulator.SubprotocolV1} {
		for _, conns := range []int{1, 10_000} {
			b.Run(fmt.Sprintf("%s/conns=%d", subprotocol, conns), func(b *testing.B) {
				a := simulator.NewAccount(accountConfig(conns))
				messages := frames(b.N/conns+1, subprotocol)
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
