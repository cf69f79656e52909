package loadtest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// peersBinary is the binary with the servers of others; tests that need it are skipped without.
func peersBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv(loadtest.PeersVariable)
	if path == "" {
		t.Skipf("%s is not set: run 'make test-peers', which builds the servers of others", loadtest.PeersVariable)
	}
	found, err := loadtest.FindPeers(path, binary)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestPeerRuns(t *testing.T) {
	peers := peersBinary(t)
	tests := []struct {
		name   string
		target loadtest.Target
		spoken string
		acked  bool
		change func(*scenarios.Scenario)
	}{
		{"centrifuge", loadtest.Centrifuge, "centrifugo-json", true, func(*scenarios.Scenario) {}},
		{"centrifuge-batch", loadtest.CentrifugeBatch, "centrifugo-json", true, func(*scenarios.Scenario) {}},
		{"nats", loadtest.NATS, "nats", false, func(*scenarios.Scenario) {}},
		{"gws", loadtest.GWS, "broadcast", false, func(*scenarios.Scenario) {}},
		// Bursts are what servers join into one frame.
		{"centrifuge-batch, bursts", loadtest.CentrifugeBatch, "centrifugo-json", true, bursts},
		{"nats, bursts", loadtest.NATS, "nats", false, bursts},
		{"centrifuge, clients that come back", loadtest.Centrifuge, "centrifugo-json", true, comeback},
		{"nats, clients that come back", loadtest.NATS, "nats", false, comeback},
		{"gws, clients that come back", loadtest.GWS, "broadcast", false, comeback},
		{"centrifuge, topics shared out over two workers", loadtest.Centrifuge, "centrifugo-json", true, shared},
		{"nats, topics shared out over two workers", loadtest.NATS, "nats", false, shared},
		{"gws, topics shared out over two workers", loadtest.GWS, "broadcast", false, shared},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := plan(t, tiny(t, func(s *scenarios.Scenario) { s.Connections = 30 }, tt.change), tt.target)
			o, mark := options(t, p)
			o.Peers = peers
			r, _ := carryOut(t.Context(), t, o, mark)
			if len(p.Scenario.Faults) > 0 {
				allCameBack(t, r)
			} else {
				everythingArrived(t, r)
			}
			if r.Target != string(tt.target) || r.Subprotocol != tt.spoken || r.Server.RSSBytesPerConnection == nil || r.Server.RSSEmpty == 0 {
				t.Errorf("target %s speaks %s, server %+v", r.Target, r.Subprotocol, r.Server)
			}
			if !strings.HasPrefix(r.Configuration.Server, string(tt.target)+" v") {
				t.Errorf("the server is %q", r.Configuration.Server)
			}
			if tt.acked && r.PublishAck.Count != r.Messages {
				t.Errorf("%d acknowledgements of %d messages", r.PublishAck.Count, r.Messages)
			}
		})
	}
}

func bursts(s *scenarios.Scenario) {
	s.Load.Mode, s.Load.Burst, s.Load.Every = scenarios.ModeBurst, 50, scenarios.Seconds(0.5)
}

// comeback resets half of the clients, which connect and subscribe again.
func comeback(s *scenarios.Scenario) {
	s.Reconnect.Mode, s.Reconnect.After, s.Reconnect.Most = scenarios.ReconnectAlways, scenarios.Seconds(0.05), scenarios.Seconds(0.2)
	s.Phases.Measure = scenarios.Seconds(3)
	s.Faults = []scenarios.Fault{{Kind: scenarios.FaultDisconnect, Share: 0.5, At: scenarios.Seconds(0.5), Recover: scenarios.Seconds(2)}}
	s.Thresholds = nil
}

func allCameBack(t *testing.T, r *reports.Result) {
	t.Helper()
	if r.Failure != "" || len(r.Faults) != 1 || r.Reconnects != 15 {
		t.Fatalf("failure %q, %d came back, faults %+v", r.Failure, r.Reconnects, r.Faults)
	}
	if r.LostUnexplained != 0 || r.Duplicated != 0 || r.Reordered != 0 || r.Corrupt != 0 || r.Foreign != 0 || r.Received == 0 {
		t.Errorf("%d lost without a reason, ledger %+v", r.LostUnexplained, r.Ledger)
	}
}

func shared(s *scenarios.Scenario) {
	s.Topology.Workers = 2
	s.Topics = scenarios.Topics{Count: 8, PerConnection: 3}
	s.Load.Publishers = 2
}

func TestPeerPlanIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		target loadtest.Target
		change func(*scenarios.Scenario)
		want   string
	}{
		{"manager restart", loadtest.NATS, func(s *scenarios.Scenario) {
			s.Faults = []scenarios.Fault{{Kind: scenarios.FaultManagerRestart, At: scenarios.Seconds(0.2), Hold: scenarios.Seconds(0.2), Recover: scenarios.Seconds(1)}}
		}, "fault:"},
		{"churn", loadtest.GWS, func(s *scenarios.Scenario) {
			s.Churn = scenarios.Churn{Topics: 10, Rate: scenarios.Rate{PerSecond: 5}}
		}, "churn.topics:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadtest.NewPlan(tiny(t, tt.change), tt.target, loadtest.ReadMachine())
			if !errors.Is(err, loadtest.ErrImpossible) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewPlan: %v, want something on %q", err, tt.want)
			}
		})
	}
}

func TestPeerBinaryIsFound(t *testing.T) {
	dir := t.TempDir()
	executable := filepath.Join(dir, "firetower")
	if _, err := loadtest.FindPeers("", executable); !errors.Is(err, loadtest.ErrNoPeers) || !strings.Contains(err.Error(), "make peers") {
		t.Errorf("without a binary: %v", err)
	}
	if _, err := loadtest.FindPeers(dir, executable); !errors.Is(err, loadtest.ErrNoPeers) {
		t.Errorf("a folder: %v", err)
	}
	beside := filepath.Join(dir, "peers")
	if err := os.WriteFile(beside, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := loadtest.FindPeers("", executable); err != nil || got != beside {
		t.Errorf("beside the executable: %q, %v", got, err)
	}
	if got, err := loadtest.FindPeers(beside, "/nowhere/firetower"); err != nil || got != beside {
		t.Errorf("by its path: %q, %v", got, err)
	}
}
