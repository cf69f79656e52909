package scenarios

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Encode writes a scenario as the file that Decode reads back to the same, with
// every key at its resolved value.
func (s Scenario) Encode() string {
	var b strings.Builder
	table := ""
	for _, k := range scenarioKeys {
		if unused(s, k) {
			continue
		}
		name := k.name
		if t, rest, ok := strings.Cut(k.name, "."); ok {
			if t != table {
				fmt.Fprintf(&b, "\n[%s]\n", t)
				table = t
			}
			name = rest
		}
		fmt.Fprintf(&b, "%s = %s\n", name, format(k.at(&s)))
	}
	for i := range s.Slow {
		encodeEntry(&b, "slow", slowKeys, &s.Slow[i])
	}
	for i := range s.Faults {
		encodeEntry(&b, "fault", faultKeys, &s.Faults[i])
	}
	encodeFree(&b, "gateway", s.Gateway)
	encodeFree(&b, "manager", s.Manager)
	return b.String()
}

// unused tells whether a key is left out: Decode would refuse it, or it says nothing.
func unused(s Scenario, k key[Scenario]) bool {
	switch k.name {
	case "load.mix":
		return len(s.Load.Mix) == 0
	case "load.ack_within":
		return s.Load.AckWithin.Duration == 0
	case "churn.topics":
		return s.Churn.Topics == 0
	default:
		return !k.means(&s)
	}
}

func encodeEntry[T any](b *strings.Builder, table string, keys []key[T], v *T) {
	fmt.Fprintf(b, "\n[[%s]]\n", table)
	for _, k := range keys {
		if !k.means(v) {
			continue
		}
		fmt.Fprintf(b, "%s = %s\n", k.name, format(k.at(v)))
	}
}

// encodeFree writes a server's keys as the TOML library does; the values came
// from it, so it can write all of them.
func encodeFree(b *strings.Builder, table string, tree map[string]any) {
	if len(tree) == 0 {
		return
	}
	text, err := toml.Marshal(map[string]any{table: tree})
	if err != nil {
		fmt.Fprintf(b, "\n# [%s] cannot be written: %v\n", table, err)
		return
	}
	b.WriteString("\n")
	b.Write(text)
}
