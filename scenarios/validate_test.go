package scenarios_test

import (
	"fmt"
	"strings"
	"testing"

	"firetower/scenarios"
)

// What a mode, a kind or another key leaves without a meaning is refused when a file
// gives it; what is needed together is asked for.
func TestDecodeRefusesWhatWouldBeIgnored(t *testing.T) {
	t.Parallel()
	const always = "[reconnect]\nmode = \"always\"\n"
	fault := func(kind, rest string) string {
		return fmt.Sprintf("[[fault]]\nkind = %q\nat = \"3s\"\n%s", kind, rest)
	}
	tests := []struct {
		name, toml string
		want       string
	}{
		{"a rate in burst mode", "[load]\nmode = \"burst\"\nburst = 1\nevery = \"1s\"\nrate = \"5/s\"", `f.toml:9: load.rate: is for load.mode = "open" alone`},
		{"arrivals in inflight mode", "[load]\nmode = \"inflight\"\ninflight = 1\narrivals = \"poisson\"", `f.toml:8: load.arrivals: is for load.mode = "open" alone`},
		{"a burst in open mode", "[load]\nburst = 3", `f.toml:6: load.burst: is for load.mode = "burst" alone`},
		{"a burst of none in open mode", "[load]\nburst = 0", `f.toml:6: load.burst: is for load.mode = "burst" alone`},
		{"in flight in open mode", "[load]\ninflight = 3", `f.toml:6: load.inflight: is for load.mode = "inflight" alone`},
		{"a mix in idle mode", "[load]\nmode = \"idle\"\nmix = [\"128B:1\"]", `f.toml:7: load.mix: is for a load.mode other than "idle" alone`},
		{"a payload beside a mix", "[load]\npayload = \"1KiB\"\nmix = [\"128B:1\"]", `f.toml:6: load.payload: is for scenarios without load.mix alone`},
		{"a capacity search without its mode", "[capacity]\nfrom = \"10/s\"", `f.toml:6: capacity.from: is for load.mode = "capacity" alone`},
		{"its limit at the default", "[capacity]\np99 = \"100ms\"", `f.toml:6: capacity.p99: is for load.mode = "capacity" alone`},
		{"a wait of clients that never come back", "[reconnect]\nafter = \"1s\"", `f.toml:6: reconnect.after: is for reconnect.mode = "always" alone`},
		{"jitter of clients that never come back", "[reconnect]\nmode = \"never\"\njitter = \"50%\"", `f.toml:7: reconnect.jitter: is for reconnect.mode = "always" alone`},
		{"a rate of no churn", "[churn]\nrate = \"1/s\"", `f.toml:6: churn.rate: is for churn.topics above 0 alone`},
		{"a rate of a client that never reads", "[[slow]]\nkind = \"never-reads\"\nrate = \"1/s\"", `f.toml:7: slow[0].rate: is for kind = "slow-reader" alone`},
		{"a rate of the second entry", "[[slow]]\nkind = \"slow-reader\"\nrate = \"1/s\"\n[[slow]]\nkind = \"half-open\"\nrate = \"1/s\"", `f.toml:10: slow[1].rate: is for kind = "slow-reader" alone`},
		{"a share of a gateway", always + fault("gateway-kill", `share = "50%"`), `f.toml:10: fault[0].share: is for kind = "disconnect" alone`},
		{"a hold of a disconnect", always + fault("disconnect", `hold = "1s"`), `f.toml:10: fault[0].hold: is for kinds other than "disconnect" alone`},
		{"a hold of none of a disconnect", always + fault("disconnect", `hold = "0s"`), `f.toml:10: fault[0].hold: is for kinds other than "disconnect" alone`},
		{"a victim of a disconnect", always + fault("disconnect", `victim = 0`), `f.toml:10: fault[0].victim: is for kinds other than "disconnect" alone`},

		{"a gateway that nobody returns to", fault("gateway-kill", ""), `f.toml:6: fault[0].kind: gateway-kill needs reconnect.mode = "always"`},
		{"clients that never come back", fault("disconnect", ""), `f.toml:6: fault[0].kind: disconnect needs reconnect.mode = "always"`},
		{"a victim that there is not", fault("gateway-pause", "victim = 1"), `f.toml:8: fault[0].victim: must be below topology.gateways, 1, got 1`},
		{"a manager that there is not", fault("manager-restart", "victim = 1"), `f.toml:8: fault[0].victim: must be below topology.managers, 1, got 1`},
		{"a victim below none", fault("manager-restart", "victim = -1"), `f.toml:8: fault[0].victim: must be 0 to 63, got -1`},
		{"a fault without its kind", "[[fault]]\nat = \"3s\"", `f.toml:5: fault[0].kind: must be manager-restart, gateway-kill`},
		{"a share of none", always + fault("disconnect", `share = "0%"`), `f.toml:10: fault[0].share: must be above 0% and at most 100%, got 0%`},
		{"a pause of two days", fault("gateway-pause", `hold = "48h"`), `f.toml:8: fault[0].hold: must be 0s to 24h, got 48h`},
		{"a fault too many", manyFaults(scenarios.MaxFaults + 1), "fault: must be at most 30, got 31"},
		{"two faults at once", fault("manager-restart", "") + fault("manager-restart", ""), `f.toml:10: fault[1].at: comes before fault[0] has recovered`},
		{"a fault of a closed loop", "[load]\nmode = \"inflight\"\ninflight = 1\n" + fault("manager-restart", ""), `fault: needs load.mode = "open"`},

		{"churn without confirmations", "subprotocol = \"firetower.v0\"\n[churn]\ntopics = 10", `f.toml:7: churn.topics: needs subprotocol = "firetower.v1"`},
		{"churn of one topic", "[churn]\ntopics = 1", `f.toml:6: churn.topics: must be at least 2`},
		{"churn of too many topics", "[churn]\ntopics = 1000000", `f.toml:6: churn.topics: must be at most 1000000 together with topics.count`},
		{"churn of a closed loop", "[load]\nmode = \"inflight\"\ninflight = 1\n[churn]\ntopics = 10", `f.toml:9: churn.topics: needs an open load`},
		{"churn of no load", "[load]\nmode = \"idle\"\n[churn]\ntopics = 10", `f.toml:8: churn.topics: needs a load`},
		{"churn at a standstill", "[churn]\ntopics = 10\nrate = \"0/s\"", `f.toml:7: churn.rate: must be above 0/s and at most 1000000/s, got 0/s`},
		{"a longest wait below the first", "[reconnect]\nmode = \"always\"\nafter = \"2s\"\nmost = \"1s\"", `f.toml:8: reconnect.most: must be at least reconnect.after, 2s, got 1s`},
		{"a jitter above the whole", "[reconnect]\nmode = \"always\"\njitter = \"150%\"", `f.toml:7: reconnect.jitter: "150%" is not from 0% to 100%`},
		{"a jitter without its quotes", "[reconnect]\nmode = \"always\"\njitter = 0.5", `f.toml:7: reconnect.jitter: wants a share in quotes, as "20%", got the number 0.5`},
		{"a search downwards", "[load]\nmode = \"capacity\"\n[capacity]\nfrom = \"100/s\"\nto = \"50/s\"", `f.toml:9: capacity.to: must be above capacity.from, 100/s, got 50/s`},
		{"a search that never ends", "[load]\nmode = \"capacity\"\n[capacity]\nprecision = \"0%\"", `f.toml:8: capacity.precision: must be 1% to 100%, got 0%`},
		{"a trial of too many messages", "[load]\nmode = \"capacity\"\n[capacity]\ntrial = \"10m\"", `f.toml:8: capacity.trial: plans up to 6000000 messages`},
		{"a size of the mix that is too small", "[load]\nmix = [\"64B:1\"]", `f.toml:6: load.mix: 64B:1: the size must be 128B to 1MiB`},
		{"a mix without weights", "[load]\nmix = [\"1KiB\"]", `f.toml:6: load.mix: "1KiB" is not a size and its weight: write them as "1KiB:15"`},
		{"a weight of none", "[load]\nmix = [\"1KiB:0\"]", `f.toml:6: load.mix: "1KiB:0": the weight must be a whole number from 1 to 1000000`},
		{"a mix of one string", "[load]\nmix = \"1KiB:1\"", `f.toml:6: load.mix: wants a list of strings`},
		{"more managers than gateways", "[topology]\nmanagers = 2", `f.toml:6: topology.managers: must be at most topology.gateways, 1, got 2`},
		{"cpus misspelt", "[topology]\ncpus = \"isolate\"", `f.toml:6: topology.cpus: must be shared or isolated, got "isolate", did you mean "isolated"?`},
		{"a purpose of two lines", "[slow]\n", `f.toml:5: slow: wants an array of tables, written [[slow]], got a table`},
		{"more topics than there are", "[topics]\nper_connection = 2", `f.toml:6: topics.per_connection: must be at most topics.count, 1, got 2`},
		{"a calibration of a day", "[phases]\ncalibrate = \"24h\"", `f.toml:6: phases.calibrate: must be 0s to 1h, got 24h`},

		{"a threshold on a fault that is not", `thresholds = ["fault.recovery<1s"]`, `f.toml:5: thresholds: "fault.recovery<1s": the run will have no such figure, since there is no [[fault]]`},
		{"a threshold on slow clients that are not", `thresholds = ["slow.disconnected==1"]`, `since there is no [[slow]]`},
		{"a threshold on churn that is not", `thresholds = ["churn.lost==0"]`, `since churn.topics is 0`},
		{"a threshold on joins that are not", `thresholds = ["join.p99<1s"]`, `since churn.topics is 0`},
		{"a threshold on a search that is not", `thresholds = ["capacity.messages_per_second>1/s"]`, `since load.mode is not "capacity"`},
		{"a threshold on returns that are not", `thresholds = ["reconnect.p99<1s"]`, `since reconnect.mode is "never"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := scenarios.Decode("f.toml", []byte(minimal+tt.toml))
			if err == nil {
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error lacks %q:\n%v", tt.want, err)
			}
		})
	}
}

// The same is refused of a scenario that a program made, as far as values alone can tell.
func TestValidateOfAScenarioWithoutAFile(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*scenarios.Scenario)
		want   string
	}{
		{"another version", func(s *scenarios.Scenario) { s.Version = 2 }, "version: this build reads version 1, got 2"},
		{"no name", func(s *scenarios.Scenario) { s.Name = "" }, "name: must look like"},
		{"a name that is a path", func(s *scenarios.Scenario) { s.Name = "../x" }, "name: must look like"},
		{"a purpose of two lines", func(s *scenarios.Scenario) { s.Purpose = "a\nb" }, "purpose: must look like"},
		{"a burst in open mode", func(s *scenarios.Scenario) { s.Load.Burst = 5 }, `load.burst: is for load.mode = "burst" alone`},
		{"a mix in idle mode", func(s *scenarios.Scenario) {
			s.Load.Mode, s.Load.Mix = scenarios.ModeIdle, []scenarios.Mix{{Size: 128, Weight: 1}}
		}, "load.mix: is for"},
		{"a weight of none", func(s *scenarios.Scenario) { s.Load.Mix = []scenarios.Mix{{Size: 128}} }, "load.mix: 128B:0: the weight must be 1 to"},
		{"a hold of a disconnect", func(s *scenarios.Scenario) {
			s.Reconnect.Mode = scenarios.ReconnectAlways
			s.Faults = []scenarios.Fault{{Kind: scenarios.FaultDisconnect, Share: 1, Hold: scenarios.Seconds(1), Recover: scenarios.Seconds(1)}}
		}, "fault[0].hold: is for"},
		{"a rate of a client that never reads", func(s *scenarios.Scenario) {
			s.Slow = []scenarios.Slow{{Kind: scenarios.SlowNeverReads, Count: 1, Rate: scenarios.Rate{PerSecond: 1}}}
		}, "slow[0].rate: is for"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := scenarios.Default()
			s.Name, s.Purpose, s.Connections = "x", "p", 10
			if err := s.Validate(); err != nil {
				t.Fatalf("refused as it was: %v", err)
			}
			tt.change(&s)
			if err := s.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error lacks %q: %v", tt.want, err)
			}
		})
	}
}

// An override of the mode puts away what the file says of another one.
func TestSetOfTheModeForgetsTheOtherModes(t *testing.T) {
	t.Parallel()
	s, err := scenarios.Open("1k-group")
	if err != nil {
		t.Fatal(err)
	}
	if why := s.Ignored("load.burst"); why != `is for load.mode = "burst" alone` {
		t.Errorf("got %q", why)
	}
	for _, kv := range [][2]string{{"load.burst", "50"}, {"load.every", "2s"}, {"load.mode", "burst"}} {
		if err := s.Set(kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if s.Load.Rate != scenarios.Default().Load.Rate || s.Load.Burst != 50 {
		t.Errorf("the rate is %v, the burst %d", s.Load.Rate, s.Load.Burst)
	}
	if why := s.Ignored("load.burst"); why != "" {
		t.Errorf("got %q", why)
	}
	if why := s.Ignored("load.rate"); why != `is for load.mode = "open" alone` {
		t.Errorf("got %q", why)
	}
	if _, err := scenarios.Decode("again.toml", []byte(s.Encode())); err != nil {
		t.Error(err)
	}
}

// manyFaults are so many faults, one after another.
func manyFaults(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[fault]]\nkind = \"manager-restart\"\nat = \"%dms\"\nhold = \"10ms\"\nrecover = \"10ms\"\n", 100+20*i)
	}
	return b.String()
}
