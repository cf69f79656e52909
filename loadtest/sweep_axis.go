package loadtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"firetower/config"
	"firetower/config/suggest"
	"firetower/reports"
	"firetower/scenarios"
)

// deployment are keys of a scenario that set how the servers are deployed, and leave
// the load as it is: they are settings, as the servers' own keys are. So is how many of
// the clients misbehave, and how: what it does to the others is compared.
var deployment = []string{"topology.gateways", "topology.managers", "slow.count", "slow.kind", "slow.rate", "slow.receive_buffer"}

// fixedKeys of a scenario can be no axis, and why.
var fixedKeys = map[string]string{
	"version": "is the format of the file", "name": "is no setting", "purpose": "is no setting",
	"seed":       "differs in each repeat by itself, and is the same for all cells of one",
	"thresholds": "has commas in its value", "load.mix": "has commas in its value",
}

// ParseGrid reads axes as "bucket.Num=1,2,4 connections=500,1000". A key is one of the
// scenario, or gateway.KEY or manager.KEY, or the KEY alone of a server where only one
// of them has it. Keys of the load may be tied, as
// "connections+load.rate=1000:50/s,5000:10/s", and then change together.
func ParseGrid(text string) ([]reports.SweepAxis, error) {
	var axes []reports.SweepAxis
	var problems []error
	for _, field := range strings.Fields(text) {
		a, err := parseAxis(field)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if slices.ContainsFunc(axes, func(b reports.SweepAxis) bool { return b.Key == a.Key }) {
			problems = append(problems, fmt.Errorf("%s: is named twice", a.Key))
			continue
		}
		axes = append(axes, a)
	}
	if len(axes) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New(`no axis: write KEY=VALUE,VALUE ..., as "bucket.Num=1,2,4 bucket.ConsumerNum=1,32"`))
	}
	nameAxes(axes)
	return axes, errors.Join(problems...)
}

func parseAxis(field string) (reports.SweepAxis, error) {
	name, list, ok := strings.Cut(field, "=")
	if !ok || name == "" {
		return reports.SweepAxis{}, fmt.Errorf("%q is no axis: write KEY=VALUE,VALUE", field)
	}
	keys := strings.Split(name, tie)
	for i := range keys {
		var err error
		if keys[i], err = resolveKey(keys[i]); err != nil {
			return reports.SweepAxis{}, err
		}
		if len(keys) > 1 && !isWorkKey(keys[i]) {
			return reports.SweepAxis{}, fmt.Errorf("%s: keys of the load alone can be tied to others", keys[i])
		}
	}
	key := strings.Join(keys, tie)
	a := reports.SweepAxis{Key: key, Work: isWorkKey(keys[0])}
	for _, v := range strings.Split(list, ",") {
		switch {
		case len(keys) > 1 && len(strings.Split(v, tied)) != len(keys):
			return a, fmt.Errorf("%s: %s is not one value for each key: write them as A%sB", key, v, tied)
		case v == "":
			return a, fmt.Errorf("%s: a value is empty", key)
		case slices.Contains(a.Values, v):
			return a, fmt.Errorf("%s: %s is named twice", key, v)
		}
		a.Values = append(a.Values, v)
	}
	return a, nil
}

// tie joins the keys of an axis that change together, and tied their values.
const (
	tie  = "+"
	tied = ":"
)

// isWorkKey tells a key of the load from one of a setting.
func isWorkKey(key string) bool { return !isServerKey(key) && !slices.Contains(deployment, key) }

// setAxis gives an axis' keys a value of it.
func setAxis(s *scenarios.Scenario, key, value string) error {
	keys := strings.Split(key, tie)
	if len(keys) == 1 {
		return s.Set(key, normalValue(key, value))
	}
	values := strings.Split(value, tied)
	for i, k := range keys {
		if err := s.Set(k, normalValue(k, values[i])); err != nil {
			return err
		}
	}
	return nil
}

func isServerKey(key string) bool {
	return strings.HasPrefix(key, "gateway.") || strings.HasPrefix(key, "manager.")
}

// resolveKey is the key as a scenario writes it.
func resolveKey(name string) (string, error) {
	if why, ok := fixedKeys[name]; ok {
		return "", fmt.Errorf("%s: can be no axis: it %s", name, why)
	}
	for _, k := range scenarios.Keys() {
		if k.Name == name {
			if strings.HasPrefix(name, "fault.") {
				return "", fmt.Errorf("%s: can be no axis: a scenario may have several", name)
			}
			return name, nil
		}
	}
	var hits, all []string
	for _, service := range []config.Service{config.ServiceGateway, config.ServiceManager} {
		for _, k := range config.Keys(service) {
			full := string(service) + "." + k.Path
			if strings.EqualFold(full, name) {
				return full, nil
			}
			if strings.EqualFold(k.Path, name) {
				hits = append(hits, full)
			}
			all = append(all, k.Path, full)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 2:
		return "", fmt.Errorf("%s: is a key of both services: say %s", name, strings.Join(hits, " or "))
	}
	for _, k := range scenarios.Keys() {
		all = append(all, k.Name)
	}
	return "", fmt.Errorf("no key %q%s", name, suggest.DidYouMean(name, all))
}

// nameAxes gives each axis the shortest name that no other has.
func nameAxes(axes []reports.SweepAxis) {
	for i := range axes {
		if strings.Contains(axes[i].Key, tie) {
			axes[i].Name = axes[i].Key
			continue
		}
		parts := strings.Split(axes[i].Key, ".")
		for n := 1; n <= len(parts); n++ {
			axes[i].Name = strings.Join(parts[len(parts)-n:], ".")
			if !slices.ContainsFunc(axes, func(b reports.SweepAxis) bool {
				return b.Key != axes[i].Key && (b.Key == axes[i].Name || strings.HasSuffix(b.Key, "."+axes[i].Name))
			}) {
				break
			}
		}
	}
}

// valueIn is the value that a plan has for a key, as text.
func valueIn(p *Plan, key string) string {
	if keys := strings.Split(key, tie); len(keys) > 1 {
		for i, k := range keys {
			keys[i] = valueIn(p, k)
		}
		return strings.Join(keys, tied)
	}
	for service, text := range map[string]string{"gateway.": p.GatewayTOML, "manager.": p.ManagerTOML} {
		if path, ok := strings.CutPrefix(key, service); ok {
			return lookUp(text, path)
		}
	}
	return lookUp(p.Scenario.Encode(), key)
}

// lookUp is the value at a path of a TOML document, "" when there is none.
func lookUp(text, path string) string {
	var doc map[string]any
	if err := toml.Unmarshal([]byte(text), &doc); err != nil {
		return ""
	}
	var at any = doc
	for _, part := range strings.Split(path, ".") {
		if list, ok := at.([]any); ok && len(list) == 1 {
			at = list[0]
		}
		table, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = table[part]
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}

// identity tells plans apart by what they do: two spellings of one value are the same.
// It leaves out where a value came from, which a printed configuration tells as well.
func identity(p *Plan) string {
	strip := func(text string) string {
		var b strings.Builder
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "  #")
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
		return b.String()
	}
	s := p.Scenario.Clone()
	s.Gateway, s.Manager = nil, nil
	return s.Encode() + strip(p.GatewayTOML) + strip(p.ManagerTOML)
}
