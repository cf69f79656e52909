package loadtest

import (
	"firetower/scenarios"
)

// bystanders are the clients that a fault did not happen to: those of other gateways than
// its victim.
type bystanders struct {
	// clients is how many there are.
	clients int
	// held is the account of the messages sent in the fault's window, and note why there
	// is none though there are bystanders; empty when there is one.
	held account
	note string
}

// told says that there are bystanders, and an account of them.
func (b bystanders) told() bool { return b.clients > 0 && b.note == "" }

// bystanders are those of each fault that was carried out.
func (r *run) bystanders() ([]bystanders, error) {
	var out []bystanders
	for i, f := range r.faults {
		b := bystanders{clients: innocentClients(r.s, f.plan), note: innocentNote(r.s, i)}
		if b.told() {
			stamps := stampsOf(i)
			var err error
			if b.held, err = sumPhases(r.report, stamps.hold, stamps.recover); err != nil {
				return nil, err
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// innocentNote is why the clients that a fault did not happen to cannot be told apart from
// others, empty when they can or when there are none.
func innocentNote(s scenarios.Scenario, fault int) string {
	switch {
	case innocentClients(s, s.Faults[fault]) == 0:
		return ""
	case victim(s) < 0:
		return "clients are told apart by one gateway in a run, and the faults of this one happen to several"
	case !stampsAreOwn(fault, len(s.Faults)):
		return "its messages have the stamps of another fault's: a run tells those of two apart"
	default:
		return ""
	}
}

// innocentClients is how many clients belong to other gateways than the victim of a fault.
func innocentClients(s scenarios.Scenario, f scenarios.Fault) int {
	at := victimOf(s, f)
	if at < 0 {
		return 0
	}
	n, gateways := s.Connections-s.SlowClients(), s.Topology.Gateways
	theirs := n / gateways
	if at < n%gateways {
		theirs++
	}
	return n - theirs
}

// victim is the gateway whose clients are not innocent of the faults, -1 when there is
// none, or more than one.
func victim(s scenarios.Scenario) int {
	found := -1
	for _, f := range s.Faults {
		at := victimOf(s, f)
		switch {
		case at < 0 || at == found:
		case found >= 0:
			return -1
		default:
			found = at
		}
	}
	return found
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
