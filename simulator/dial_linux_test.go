package simulator_test

import (
	"testing"

	"firetower/simulator"
)

// A lost connection goes on trying also when it does not even get to its SYN: here an address is not the machine's.
func TestComebackThatCannotBegin(t *testing.T) {
	t.Parallel()
	config := simulator.DefaultConfig()
	config.URLs, config.Connections, config.Engine = []string{"ws://127.0.0.1:9/ws"}, 1, simulator.EngineEpoll
	config.SourceIPs = []string{"203.0.113.1"} // RFC 5737: nobody's
	config.Reconnect.Enabled = true
	config.MaxRows, config.Batch, config.ReadBuffer = 16, 16, 4096
	inFlight, refused, again, err := simulator.FailedComeback(config)
	if err != nil || inFlight != 0 || refused != 1 || !again {
		t.Errorf("%d under way, %d refused, tried again: %v, %v", inFlight, refused, again, err)
	}
}
