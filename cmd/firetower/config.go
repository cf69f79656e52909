package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"firetower/config"
)

func newConfigCommand(g *globalState) *cobra.Command {
	return parent(&cobra.Command{
		Use:   "config",
		Short: "Check and show configurations",
	}, newConfigCheckCommand(g), newConfigPrintCommand(g), newConfigExampleCommand(g))
}

// loaded is the configuration of one service, for the commands that look at any.
type loaded struct {
	service  config.Service
	file     string
	settings []config.Setting
	notices  []string
}

// configArgs are what check and print have in common: a service, or a file that
// tells it by its name, or neither, for all services.
type configArgs struct {
	g        *globalState
	settings *settings
	file     string
}

func newConfigArgs(g *globalState, cmd *cobra.Command) *configArgs {
	a := &configArgs{g: g, settings: newSettings(g, cmd)}
	cmd.Flags().StringVar(&a.file, "config", "", "configuration `FILE`; a name like fireTower.toml or topicmanage.toml tells the service")
	cmd.Args = maxArgs(1)
	cmd.ValidArgs = []string{string(config.ServiceGateway), string(config.ServiceManager)}
	return a
}

// load loads what the arguments name.
func (a *configArgs) load(args []string) ([]loaded, error) {
	services := []config.Service{config.ServiceGateway, config.ServiceManager}
	switch {
	case len(args) == 1:
		s, err := serviceNamed(args[0])
		if err != nil {
			return nil, err
		}
		services = []config.Service{s}
	case a.file != "":
		s, err := serviceOfFile(a.file)
		if err != nil {
			return nil, err
		}
		services = []config.Service{s}
	case len(a.settings.pairs) > 0:
		return nil, usagef("--set %s: whose key? say gateway or manager", a.settings.pairs[0])
	}
	var out []loaded
	var errs []error
	for _, s := range services {
		l, err := a.loadService(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s, err))
			continue
		}
		out = append(out, l)
	}
	return out, errors.Join(errs...)
}

func (a *configArgs) loadService(service config.Service) (loaded, error) {
	if service == config.ServiceManager {
		a.settings.managerFile = a.file
		c, err := a.settings.manager()
		if err != nil {
			return loaded{}, err
		}
		opts := managerOptions(c)
		if err := opts.Validate(); err != nil {
			return loaded{}, configurationError(err)
		}
		return loaded{service, a.file, c.Settings(), c.Notices()}, nil
	}
	a.settings.gatewayFile = a.file
	c, err := a.settings.gateway()
	if err != nil {
		return loaded{}, err
	}
	opts := gatewayOptions(c)
	if err := opts.Validate(); err != nil {
		return loaded{}, configurationError(err)
	}
	if tokens := authOptions(c); c.Auth.On() {
		if err := tokens.Validate(); err != nil {
			return loaded{}, configurationError(err)
		}
	}
	return loaded{service, a.file, c.Settings(), c.Notices()}, nil
}

func serviceNamed(name string) (config.Service, error) {
	switch s := config.Service(name); s {
	case config.ServiceGateway, config.ServiceManager:
		return s, nil
	default:
		return "", usagef("unknown service %q: want gateway or manager", name)
	}
}

// serviceOfFile guesses the service by the name that its files commonly have.
func serviceOfFile(file string) (config.Service, error) {
	base := strings.ToLower(filepath.Base(file))
	switch {
	case strings.Contains(base, "manage"):
		return config.ServiceManager, nil
	case strings.Contains(base, "tower"), strings.Contains(base, "gateway"):
		return config.ServiceGateway, nil
	default:
		return "", usagef("whose configuration is %s? say gateway or manager before --config", file)
	}
}

func newConfigCheckCommand(g *globalState) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [gateway|manager] [--config FILE]",
		Short: "Say everything that is wrong with a configuration",
		Long: `Check loads a configuration as the service would: the file, the environment and
--set. It lists every problem with its file, line and key, and exits with 2.
Without a service and a file, it checks the environment for all services.`,
		Example: `  firetower config check --config config/fireTower.toml
  firetower config check manager --config /etc/firetower/m.toml`,
	}
	a := newConfigArgs(g, cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		all, err := a.load(args)
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, l := range all {
			from := "defaults and environment"
			if l.file != "" {
				from = l.file
			}
			changed := 0
			for _, s := range l.settings {
				if s.Origin.Kind != config.FromDefault {
					changed++
				}
			}
			fmt.Fprintf(&b, "%s: %s: ok, %d of %d settings are not by default\n", l.service, from, changed, len(l.settings))
			for _, n := range l.notices {
				fmt.Fprintf(&b, "%s: note: %s\n", l.service, n)
			}
		}
		_, err = g.stdout.Write([]byte(b.String()))
		return err
	}
	return cmd
}

func newConfigPrintCommand(g *globalState) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "print [gateway|manager] [--config FILE]",
		Short: "Print the whole configuration in force, with the origin of each value",
		Long: `Print resolves a configuration as the service would and writes it as a file that
loads to the same values, with the origin of each as a comment: default, file
and line, environment or flag. Secrets are not shown.`,
		Example: `  firetower config print gateway
  FIRETOWER_BUCKET_NUM=8 firetower config print --config config/fireTower.toml`,
	}
	a := newConfigArgs(g, cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		all, err := a.load(args)
		if err != nil {
			return err
		}
		if asJSON {
			out := map[config.Service][]config.Setting{}
			for _, l := range all {
				out[l.service] = l.settings
			}
			return writeJSON(g.stdout, out)
		}
		for i, l := range all {
			if len(all) > 1 {
				if _, err := fmt.Fprintf(g.stdout, "%s# %s\n", strings.Repeat("\n", min(i, 1)), l.service); err != nil {
					return err
				}
			}
			if err := config.WriteTOML(g.stdout, l.settings); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func newConfigExampleCommand(g *globalState) *cobra.Command {
	return &cobra.Command{
		Use:       "example gateway|manager",
		Short:     "Print a configuration file with every key, its default and meaning",
		Example:   "  firetower config example gateway > fireTower.toml",
		Args:      exactArgs(1, "gateway or manager"),
		ValidArgs: []string{string(config.ServiceGateway), string(config.ServiceManager)},
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := serviceNamed(args[0])
			if err != nil {
				return err
			}
			return config.WriteExample(g.stdout, s)
		},
	}
}

// exactArgs wants n arguments and says what they are.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("want %s, got %d arguments", what, len(args))
		}
		return nil
	}
}

// noArgs wants none.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("takes no arguments, got %q", args[0])
	}
	return nil
}

// maxArgs wants at most n arguments.
func maxArgs(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("unexpected argument %q", args[n])
		}
		return nil
	}
}
