package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"firetower/config"
	"firetower/config/suggest"
	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// loadtestSettings are what overrides a scenario: file < environment < flag.
type loadtestSettings struct {
	g *globalState

	rate, duration, warmup, subprotocol string
	conns, workers                      int
	seed                                uint64
	set, thresholds, tags               []string
	target                              string
	versus                              []string
	peers                               string
}

// variablePrefix begins the variables that override a scenario.
const variablePrefix = "FIRETOWER_LOADTEST_"

// shortVariables are those of the keys that are overridden most; the flags of these
// keys have the same names.
var shortVariables = []struct{ name, key string }{
	{"RATE", "load.rate"},
	{"DURATION", "phases.measure"},
	{"CONNS", "connections"},
}

// environmentKeys are the variables that override a scenario: the short ones, and one
// for each key that is no entry of an array, as FIRETOWER_LOADTEST_LOAD_RATE.
func environmentKeys() []environmentKey {
	var out []environmentKey
	for _, v := range shortVariables {
		out = append(out, environmentKey{variablePrefix + v.name, v.key})
	}
	for _, k := range scenarios.Keys() {
		if k.Name == "version" || strings.HasPrefix(k.Name, "slow.") || strings.HasPrefix(k.Name, "fault.") {
			continue
		}
		out = append(out, environmentKey{variablePrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_")), k.Name})
	}
	return out
}

// environmentKey is a variable and the key that it sets.
type environmentKey struct{ variable, key string }

// fromEnvironment lays the variables over a scenario.
func (o *loadtestSettings) fromEnvironment(set func(origin, key, value string) error) error {
	by := map[string]string{} // key -> variable
	for _, v := range environmentKeys() {
		value := o.variable(v.variable)
		if value == "" {
			continue
		}
		if other := by[v.key]; other != "" {
			return usagef("%s and %s are both %s: set one of them", other, v.variable, v.key)
		}
		by[v.key] = v.variable
		if err := set(v.variable, v.key, normalRate(v.key, value)); err != nil {
			return err
		}
	}
	return nil
}

func (o *loadtestSettings) flags(cmd *cobra.Command) {
	o.scenarioFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.target, "target", string(loadtest.Firetower), "what to load: firetower, firetower@PATH for another build of it, one of the reference servers floor, floor-joined, classic, or one of other people's servers centrifuge, centrifuge-batch, nats, gws")
	f.StringSliceVar(&o.versus, "vs", nil, "run these as well, in turn with the target on the same work, and compare: `floor,classic,centrifuge`")
	f.StringVar(&o.peers, "peers", "", "the `BINARY` of other people's servers that 'make peers' builds; default is "+loadtest.PeersVariable+", then peers beside this binary")
	_ = cmd.RegisterFlagCompletionFunc("vs", targetNames)
	_ = cmd.RegisterFlagCompletionFunc("target", targetNames)
}

// scenarioFlags are the flags that override a scenario, whatever is done with it.
func (o *loadtestSettings) scenarioFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.rate, "rate", "r", "", "messages in a second, as 10 or `10/s`")
	f.StringVarP(&o.duration, "duration", "d", "", "length of the measured phase, as `30s`")
	f.StringVar(&o.warmup, "warmup", "", "length of the warm-up, as `5s`")
	f.IntVarP(&o.conns, "conns", "c", 0, "`NUMBER` of clients")
	f.IntVarP(&o.workers, "workers", "w", 0, "`NUMBER` of worker processes, 0 for as many as needed")
	f.Uint64Var(&o.seed, "seed", 0, "`SEED` of the plan's random choices")
	f.StringVar(&o.subprotocol, "subprotocol", "", "firetower.v1 or firetower.v0")
	f.StringArrayVar(&o.thresholds, "threshold", nil, "what must hold instead of the scenario's `THRESHOLD`s, as 'delivery.p99<250ms'")
	f.StringArrayVar(&o.set, "set", nil, "any key of the scenario, as `KEY=VALUE`: load.payload=1KiB, gateway.bucket.Num=8")
}

func targetNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, t := range loadtest.Targets() {
		names = append(names, string(t))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// resolve opens a scenario and lays the environment and the flags over it.
func (o *loadtestSettings) resolve(cmd *cobra.Command, ref string) (scenarios.Scenario, []reports.Override, error) {
	s, err := o.open(ref)
	if err != nil {
		err = &usageError{err}
		if errors.Is(err, scenarios.ErrUnknown) {
			err = withHint(err, "A scenario of your own is a file whose name ends in .toml, or a path.")
		}
		return s, nil, err
	}
	var overrides []reports.Override
	set := func(origin, key, value string) error {
		if err := s.Set(key, value); err != nil {
			if meant := serverKeys(key); len(meant) > 0 && !scenarioHas(key) {
				return usagef("%s: no key %q, did you mean %s?", origin, key, strings.Join(meant, " or "))
			}
			return usagef("%s: %w", origin, err)
		}
		overrides = append(overrides, reports.Override{Key: key, Value: value, Origin: origin})
		return nil
	}
	if err := o.checkVariables(); err != nil {
		return s, nil, err
	}
	if err := o.fromEnvironment(set); err != nil {
		return s, nil, err
	}
	f := cmd.Flags()
	for _, v := range []struct{ flag, key, value string }{
		{"rate", "load.rate", normalRate("load.rate", o.rate)},
		{"duration", "phases.measure", o.duration},
		{"warmup", "phases.warmup", o.warmup},
		{"conns", "connections", strconv.Itoa(o.conns)},
		{"workers", "topology.workers", strconv.Itoa(o.workers)},
		{"seed", "seed", strconv.FormatUint(o.seed, 10)},
		{"subprotocol", "subprotocol", o.subprotocol},
		{"threshold", "thresholds", strings.Join(o.thresholds, ",")},
	} {
		if f.Changed(v.flag) {
			if err := set("--"+v.flag, v.key, v.value); err != nil {
				return s, nil, err
			}
		}
	}
	for _, pair := range o.set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return s, nil, usagef("--set %s: write KEY=VALUE", pair)
		}
		if err := set("--set", strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return s, nil, err
		}
	}
	for _, v := range overrides {
		if why := s.Ignored(v.Key); why != "" {
			return s, nil, usagef("%s: %s %s", v.Origin, v.Key, why)
		}
	}
	if err := s.Validate(); err != nil {
		return s, nil, &usageError{err}
	}
	if err := o.checkServers(s, ref, overrides); err != nil {
		return s, nil, &usageError{err}
	}
	return s, overrides, nil
}

// checkServers checks what a scenario says of the servers' configurations. A problem is told
// with the place of its key: the variable or flag that set it, or a line of the file.
func (o *loadtestSettings) checkServers(s scenarios.Scenario, ref string, overrides []reports.Override) error {
	err := loadtest.CheckServers(s)
	var problems config.SourceErrors
	if !errors.As(err, &problems) {
		return err
	}
	file := ref + ".toml"
	var text []byte
	if scenarios.IsFile(ref) {
		file = ref
		if text, err = o.g.readFile(ref); err != nil {
			return err
		}
	}
	out := make([]error, len(problems))
	for i, p := range problems {
		at := &scenarios.ProblemError{File: file, Line: scenarios.Line(text, p.Key), Key: p.Key, Reason: p.Reason}
		for _, v := range overrides {
			if v.Key == p.Key {
				at.File, at.Line = v.Origin, 0
			}
		}
		out[i] = at
	}
	return errors.Join(out...)
}

// tagged are the tags that were given.
func (o *loadtestSettings) tagged() (map[string]string, error) {
	if len(o.tags) == 0 {
		return nil, nil
	}
	out := map[string]string{}
	for _, pair := range o.tags {
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, usagef("--tag %s: write KEY=VALUE", pair)
		}
		if _, again := out[key]; again {
			return nil, usagef("--tag %s: %s is given twice", pair, key)
		}
		out[key] = strings.TrimSpace(value)
	}
	return out, nil
}

// open reads a scenario: of the catalogue by its name, or a file.
func (o *loadtestSettings) open(ref string) (scenarios.Scenario, error) {
	if !scenarios.IsFile(ref) {
		return scenarios.Open(ref)
	}
	b, err := o.g.readFile(ref)
	if err != nil {
		return scenarios.Scenario{}, err
	}
	return scenarios.Decode(ref, b)
}

// normalRate lets people write a bare number for a rate a second.
func normalRate(key, value string) string {
	if _, err := strconv.ParseFloat(value, 64); err == nil && key == "load.rate" {
		return value + "/s"
	}
	return value
}

// serverKeys are the keys of the servers' configuration that name would be one of, as
// a scenario calls them: gateway.bucket.Num for bucket.Num.
func serverKeys(name string) []string {
	var out []string
	for _, service := range []config.Service{config.ServiceGateway, config.ServiceManager} {
		for _, k := range config.Keys(service) {
			if strings.EqualFold(k.Path, name) {
				out = append(out, string(service)+"."+k.Path)
			}
		}
	}
	return out
}

func scenarioHas(key string) bool {
	return slices.ContainsFunc(scenarios.Keys(), func(k scenarios.Key) bool { return k.Name == key })
}

func (o *loadtestSettings) variable(name string) string {
	for _, kv := range o.g.environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// checkVariables refuses a variable that looks like ours and is none: a slip of the
// fingers would otherwise measure something else than was meant. It tells of those that
// the services would take from the environment, since a run does not: its document must
// say all that it depends on.
func (o *loadtestSettings) checkVariables() error {
	keys := append(environmentKeys(), environmentKey{variable: loadtest.PeersVariable}) // no key, the path of a binary
	names, short := make([]string, len(keys)), make([]string, len(keys))
	for i, v := range keys {
		names[i], short[i] = v.variable, strings.TrimPrefix(v.variable, variablePrefix)
	}
	for _, kv := range o.g.environ {
		name, value, _ := strings.Cut(kv, "=")
		if slices.Contains(names, name) || !strings.HasPrefix(name, config.EnvPrefix) {
			continue
		}
		if strings.HasPrefix(name, variablePrefix) {
			near := suggest.DidYouMean(strings.TrimPrefix(name, variablePrefix), short)
			return usagef("%s: unknown variable%s; there are %s, and one for each key of a scenario, as %s for load.payload", name,
				strings.Replace(near, `"`, `"`+variablePrefix, 1), strings.Join(names[:len(shortVariables)], ", "), variablePrefix+"LOAD_PAYLOAD")
		}
		if keys, secret := serverVariable(name); len(keys) > 0 {
			if secret {
				value = "..."
			}
			fmt.Fprintf(o.g.stderr, "%s has no effect on load tests: use --set %s=%s\n", name, strings.Join(keys, " or "), value)
			continue
		}
		if near := suggest.DidYouMean(name, names); near != "" && strings.Contains(name, "LOAD") {
			return usagef("%s: unknown variable%s", name, near)
		}
	}
	return nil
}

// serverVariable are the keys of the servers' configuration that a variable sets, as a
// scenario calls them, and whether their value is for nobody's eyes.
func serverVariable(name string) (keys []string, secret bool) {
	for _, service := range []config.Service{config.ServiceGateway, config.ServiceManager} {
		for _, k := range config.Keys(service) {
			scoped := config.EnvPrefix + strings.ToUpper(string(service)) + "_" + strings.TrimPrefix(k.Env, config.EnvPrefix)
			if name == k.Env || name == scoped {
				keys = append(keys, string(service)+"."+k.Path)
				secret = secret || k.Kind == config.KindSecret
			}
		}
	}
	return keys, secret
}

// targets are the targets of a run, in the order given; without --vs there is one.
func (o *loadtestSettings) targets() ([]loadtest.Target, error) {
	var out []loadtest.Target
	for _, name := range append([]string{o.target}, o.versus...) {
		t := loadtest.Target(strings.TrimSpace(name))
		if path, ok := t.Build(); ok {
			if _, err := loadtest.ReadBuild(context.Background(), path, o.g.environ); err != nil {
				return nil, withHint(&usageError{err}, "firetower@PATH names another build: go build -o /tmp/old ./cmd/firetower, and --vs firetower@/tmp/old")
			}
		} else if !slices.Contains(loadtest.Targets(), t) {
			return nil, usagef("no target %q; there are %v, and firetower@PATH for another build", name, loadtest.Targets())
		}
		if slices.Contains(out, t) {
			return nil, usagef("target %s is named twice", t)
		}
		out = append(out, t)
	}
	return out, nil
}

// peersBinary is where the servers of others are, or empty when no target needs them.
func (o *loadtestSettings) peersBinary(targets []loadtest.Target) (string, error) {
	if !slices.ContainsFunc(targets, loadtest.Target.Peer) {
		return "", nil
	}
	executable, err := o.g.executable()
	if err != nil {
		return "", err
	}
	path := o.peers
	if path == "" {
		path = o.variable(loadtest.PeersVariable)
	}
	path, err = loadtest.FindPeers(path, executable)
	if err != nil {
		return "", &usageError{err}
	}
	return path, nil
}

// fitted is the scenario as all targets can carry it out: reference servers speak
// firetower.v0 alone, and a comparison wants the same bytes from all. Servers of
// others speak what they do.
func (o *loadtestSettings) fitted(s scenarios.Scenario, targets []loadtest.Target) scenarios.Scenario {
	if slices.ContainsFunc(targets, loadtest.Target.Reference) && o.subprotocol == "" {
		s.Subprotocol = scenarios.V0
	}
	return s
}

// planned makes the plans of all targets, or the error of a call that cannot be.
func (o *loadtestSettings) planned(s scenarios.Scenario, targets []loadtest.Target) ([]*loadtest.Plan, error) {
	var plans []*loadtest.Plan
	var errs []error
	for _, t := range targets {
		p, err := loadtest.NewPlan(o.fitted(s, targets), t, loadtest.ReadMachine())
		if err != nil {
			errs = append(errs, fmt.Errorf("%s on %s: %w", s.Name, t, err))
			continue
		}
		plans = append(plans, p)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &usageError{err}
	}
	return plans, nil
}
