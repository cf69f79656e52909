package loadtest

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"firetower/config"
	"firetower/reports"
)

// configurations are the recommended setting as files that the services take: the
// scenario's own keys of the service, and every axis, those at their defaults too, so
// that the file says what was decided. A service without an axis has no file.
func (p *TunePlan) configurations(t *reports.Tune) (gateway, manager string, err error) {
	plan := p.Sweep.Plans[t.Recommended]
	s := plan.Scenario.Clone()
	axes := map[string]bool{}
	for i, a := range t.Search.Axes {
		service, _, _ := strings.Cut(a.Key, ".")
		if !isServerKey(a.Key) {
			continue
		}
		axes[service] = true
		if err := s.Set(a.Key, t.Search.Cells[t.Recommended].Values[i]); err != nil {
			return "", "", err
		}
	}
	if axes["gateway"] || len(s.Gateway) > 0 {
		if gateway, err = p.file(t, config.ServiceGateway, s.Gateway); err != nil {
			return "", "", err
		}
	}
	if axes["manager"] {
		manager, err = p.file(t, config.ServiceManager, s.Manager)
	}
	return gateway, manager, err
}

// file writes a configuration file with where it came from, and loads it, so that what
// is recommended is sure to be taken.
func (p *TunePlan) file(t *reports.Tune, service config.Service, keys map[string]any) (string, error) {
	body, err := toml.Marshal(keys)
	if err != nil {
		return "", fmt.Errorf("write the recommended configuration: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Recommended by: firetower tune %s, %s.\n", t.Search.Scenario, t.ID)
	for _, f := range t.Findings {
		for _, line := range wrapComment(f) {
			fmt.Fprintf(&b, "# %s\n", line)
		}
	}
	fmt.Fprintf(&b, "# It was measured on %s, %d CPUs; another machine or load may want another.\n\n", t.Search.Environment.CPU, t.Search.Environment.CPUs)
	b.Write(body)
	text := b.String()
	src := config.Sources{ReadFile: func(string) ([]byte, error) { return []byte(text), nil }}
	if service == config.ServiceManager {
		src.ManagerFile = reports.TuneManager
		_, err = config.LoadManager(src)
	} else {
		src.GatewayFile = reports.TuneGateway
		_, err = config.LoadGateway(src)
	}
	return text, err
}

// wrapComment breaks text into lines of a comment.
func wrapComment(text string) []string {
	const width = 92
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
