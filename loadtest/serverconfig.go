package loadtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"firetower/config"
)

// resolveServers checks the keys that the scenario lays over the servers'
// configurations, and resolves both wholly, for the result.
func (p *Plan) resolveServers() error {
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
		return "[" + service + "] of scenario " + p.Scenario.Name
	}
	read, err := source(p.Scenario.Gateway)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	gateway, err := config.LoadGateway(config.Sources{GatewayFile: name("gateway", p.Scenario.Gateway), ReadFile: read})
	if err != nil {
		return err
	}
	if read, err = source(p.Scenario.Manager); err != nil {
		return fmt.Errorf("manager: %w", err)
	}
	manager, err := config.LoadManager(config.Sources{ManagerFile: name("manager", p.Scenario.Manager), ReadFile: read})
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
