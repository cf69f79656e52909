package scenarios_test

import (
	"reflect"
	"testing"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/scenarios"
)

// drawn is what a property draws of a scenario.
type drawn struct {
	Mode, Reconnect, Payload int
	Rate, Jitter             float64
	Churn                    int
	Mix, Slow, Faults        []int
}

// scenario makes a scenario of it, that may or may not be a valid one.
func (d drawn) scenario() scenarios.Scenario {
	s := scenarios.Default()
	s.Name, s.Purpose, s.Connections = "drawn", `a "property" \ of the format`, 100
	s.Load.Mode = []scenarios.Mode{
		scenarios.ModeOpen, scenarios.ModeBurst, scenarios.ModeInflight, scenarios.ModeCapacity, scenarios.ModeIdle,
	}[d.Mode]
	switch s.Load.Mode {
	case scenarios.ModeOpen:
		s.Load.Rate.PerSecond = d.Rate
	case scenarios.ModeBurst:
		s.Load.Burst, s.Load.Every = 1+d.Payload, scenarios.Seconds(1+d.Rate)
	case scenarios.ModeInflight:
		s.Load.Inflight = 1 + d.Payload
	case scenarios.ModeCapacity:
		s.Capacity.To.PerSecond += d.Rate
		s.Capacity.Precision = scenarios.Ratio(d.Jitter)
	case scenarios.ModeIdle:
	}
	for _, n := range d.Mix {
		s.Load.Mix = append(s.Load.Mix, scenarios.Mix{Size: scenarios.Size(scenarios.MinPayload + n), Weight: n})
	}
	if len(d.Mix) == 0 {
		s.Load.Payload = scenarios.Size(scenarios.MinPayload + d.Payload)
	}
	if d.Reconnect == 1 {
		s.Reconnect.Mode, s.Reconnect.Jitter = scenarios.ReconnectAlways, scenarios.Ratio(d.Jitter)
		s.Reconnect.Most.Duration += s.Reconnect.After.Duration
	}
	if d.Churn > 1 {
		s.Churn.Topics, s.Churn.Rate.PerSecond = d.Churn, 1+d.Rate
	}
	for _, n := range d.Slow {
		g := scenarios.Slow{Kind: []scenarios.SlowKind{
			scenarios.SlowNeverReads, scenarios.SlowReader, scenarios.SlowWriter, scenarios.SlowHalfOpen,
		}[n%4], Count: 1 + n/4, ReceiveBuffer: scenarios.Size(n)}
		if g.Kind == scenarios.SlowReader {
			g.Rate.PerSecond = d.Rate
		}
		s.Slow = append(s.Slow, g)
	}
	at := 0.5
	for _, n := range d.Faults {
		f := scenarios.Fault{Kind: []scenarios.FaultKind{
			scenarios.FaultManagerRestart, scenarios.FaultGatewayKill, scenarios.FaultGatewayPause, scenarios.FaultLinkBlackhole,
			scenarios.FaultDisconnect,
		}[n%5], At: scenarios.Seconds(at), Recover: scenarios.Seconds(1)}
		if f.Kind == scenarios.FaultDisconnect {
			f.Share = scenarios.Ratio(d.Jitter)
		} else {
			f.Hold.Duration = 1 + s.Phases.Drain.Duration/100
		}
		at += 3
		s.Faults = append(s.Faults, f)
	}
	s.Phases.Calibrate.Duration = 0
	s.Phases.Leave.Duration++
	s.Connect.Timeout.Duration = 1 + scenarios.Seconds(d.Rate).Duration
	return s
}

// Whatever scenario is valid, its printed form is read back to the same: no key is
// printed that would be refused, and none is left out that means something.
func TestValidScenariosSurvivePrinting(t *testing.T) {
	t.Parallel()
	parameters := gopter.DefaultTestParameters()
	parameters.MinSuccessfulTests, parameters.MaxSize = 500, 4
	properties := gopter.NewProperties(parameters)
	few := func(most int) gopter.Gen { return gen.SliceOf(gen.IntRange(1, most)) }
	draw := gen.Struct(reflect.TypeFor[drawn](), map[string]gopter.Gen{
		"Mode": gen.IntRange(0, 4), "Reconnect": gen.IntRange(0, 1), "Payload": gen.IntRange(0, 5000),
		"Rate": gen.Float64Range(0, 5000), "Jitter": gen.Float64Range(0, 1), "Churn": gen.IntRange(0, 50),
		"Mix": few(100_000), "Slow": few(30), "Faults": few(20),
	})
	valid := map[bool]int{}
	properties.Property("what is valid decodes from its print to the same", prop.ForAll(func(d drawn) bool {
		s := d.scenario()
		err := s.Validate()
		valid[err == nil]++
		if err != nil {
			return true
		}
		again, err := scenarios.Decode("printed.toml", []byte(s.Encode()))
		return err == nil && reflect.DeepEqual(s, again)
	}, draw))
	properties.TestingRun(t)
	if valid[true] < 10 || valid[false] == 0 {
		t.Errorf("of the drawn scenarios %d were valid and %d not", valid[true], valid[false])
	}
}
