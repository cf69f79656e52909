package loadtest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"firetower/config"
	"firetower/scenarios"
)

// CheckServers checks the keys that a scenario lays over the servers' configurations, and
// nothing else of it. Its error is config.SourceErrors, with keys as they stand in the scenario.
func CheckServers(s scenarios.Scenario) error {
	_, _, err := loadServers(s)
	return err
}

// loadServers resolves the servers' configurations.
func loadServers(s scenarios.Scenario) (*config.Gateway, *config.Manager, error) {
	source := func(keys map[string]any) (func(string) ([]byte, error), error) {
		text, err := toml.Marshal(keys)
		if err != nil {
			return nil, err
		}
		return func(string) ([]byte, error) { return text, nil }, nil
	}
	name := func(service string, keys map[string]any) string {
		if len(keys) == 0 {
			return ""
		}
		return "[" + service + "] of scenario " + s.Name
	}
	read, err := source(s.Gateway)
	if err != nil {
		return nil, nil, fmt.Errorf("gateway: %w", err)
	}
	gateway, errGateway := config.LoadGateway(config.Sources{GatewayFile: name("gateway", s.Gateway), ReadFile: read})
	if read, err = source(s.Manager); err != nil {
		return nil, nil, fmt.Errorf("manager: %w", err)
	}
	manager, errManager := config.LoadManager(config.Sources{ManagerFile: name("manager", s.Manager), ReadFile: read})
	var problems config.SourceErrors
	for service, err := range map[string]error{"gateway": errGateway, "manager": errManager} {
		var some config.SourceErrors
		if !errors.As(err, &some) && err != nil {
			return nil, nil, err
		}
		for _, p := range some {
			p.Key = strings.TrimSuffix(service+"."+p.Key, ".")
			problems = append(problems, p)
		}
	}
	slices.SortStableFunc(problems, func(a, b *config.SourceError) int { return cmp.Compare(a.Key, b.Key) })
	if len(problems) > 0 {
		return nil, nil, problems
	}
	return gateway, manager, nil
}

// resolveServers checks the keys that the scenario lays over the servers'
// configurations, and resolves both wholly, for the result.
func (p *Plan) resolveServers() error {
	gateway, manager, err := loadServers(p.Scenario)
	if err != nil {
		return err
	}
	if gateway.Link.Token != "" || manager.Link.Token != "" {
		return fmt.Errorf("%w: %w", ErrImpossible, errors.New("token: the harness publishes without one, since its servers listen on loopback ports that nobody knows"))
	}
	p.unset = overridden(append(gateway.Settings(), manager.Settings()...))
	if p.Scenario.Clients.Compression && !gateway.Compression.Enabled {
		p.Notes = append(p.Notes, "clients offer compression, and no gateway takes it: that needs gateway.compression.enabled = true")
	}
	var b strings.Builder
	if err := config.WriteTOML(&b, gateway.Settings()); err != nil {
		return err
	}
	p.GatewayTOML = strings.TrimSpace(b.String()) + "\n"
	b.Reset()
	if err := config.WriteTOML(&b, manager.Settings()); err != nil {
		return err
	}
	p.ManagerTOML = strings.TrimSpace(b.String()) + "\n"
	return nil
}

// overridden are the variables of Go's runtime that win over a key which the scenario
// sets: a service must not get them, or the run would not be what its document says.
func overridden(settings []config.Setting) []string {
	variables := map[string]string{"runtime.gcPercent": "GOGC", "runtime.memoryLimit": "GOMEMLIMIT", "runtime.maxProcs": "GOMAXPROCS"}
	var out []string
	for _, s := range settings {
		if v := variables[s.Key]; v != "" && s.Origin.Kind != config.FromDefault && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
