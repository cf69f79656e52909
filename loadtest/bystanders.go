package loadtest

import (
	"errors"

	"firetower/scenarios"
)

// bystanders are the clients that a fault did not happen to: those that were at other
// gateways than its victim when it happened.
type bystanders struct {
	// clients is how many there are; 0 when the fault has no single gateway as its victim,
	// or when all were at that.
	clients int
	// before is the account of the messages sent since the window of the fault before, or
	// the start, and held of those sent in the fault's own window.
	before, held account
}

// bystanders are those of each fault that was carried out.
func (r *run) bystanders() ([]bystanders, error) {
	var out []bystanders
	for i := range r.faults {
		b := bystanders{clients: int(r.report.Innocents[i])}
		if b.clients > 0 {
			stamps := stampsOf(i)
			var errs [2]error
			b.before, errs[0] = sumPhases(r.report, stamps.before)
			b.held, errs[1] = sumPhases(r.report, stamps.hold, stamps.recover)
			if err := errors.Join(errs[:]...); err != nil {
				return nil, err
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// victims are, for each fault, the gateway at which no client is innocent of it, -1 when
// there is no such.
func victims(s scenarios.Scenario) []int {
	var out []int
	for _, f := range s.Faults {
		out = append(out, victimOf(s, f))
	}
	return out
}

// victimOf is the one gateway that a fault happens to, -1 when it happens to all, or to
// clients wherever they are.
func victimOf(s scenarios.Scenario, f scenarios.Fault) int {
	switch f.Kind {
	case scenarios.FaultGatewayKill, scenarios.FaultGatewayPause, scenarios.FaultLinkBlackhole:
	case scenarios.FaultManagerRestart:
		// The gateways of manager v are v, v+managers, and so on.
		if s.Topology.Managers < 2 || f.Victim+s.Topology.Managers < s.Topology.Gateways {
			return -1
		}
	default:
		return -1
	}
	if s.Topology.Gateways < 2 {
		return -1
	}
	return f.Victim
}
