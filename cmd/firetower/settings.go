package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firetower/config"
)

// settings are the flags of a command that loads a configuration: those of
// single keys, --set for every other key, and the files.
type settings struct {
	g *globalState
	// gatewayFile and managerFile are the values of --config and its like.
	gatewayFile, managerFile string
	// pairs are the values of --set.
	pairs []string
	// own are the flags of single keys.
	own   []ownFlag
	flags *pflag.FlagSet
}

// ownFlag is the flag of one key.
type ownFlag struct {
	flag *pflag.Flag
	key  config.Key
}

// newSettings gives cmd the flag --set.
func newSettings(g *globalState, cmd *cobra.Command) *settings {
	s := &settings{g: g, flags: cmd.Flags()}
	s.flags.StringArrayVar(&s.pairs, "set", nil, "`KEY=VALUE` for any key of the configuration, as bucket.Num=8; may be repeated (see 'firetower help configuration')")
	_ = cmd.RegisterFlagCompletionFunc("set", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, service := range []config.Service{config.ServiceManager, config.ServiceGateway} {
			for _, k := range config.Keys(service) {
				names = append(names, k.Path+"=\t"+k.Doc)
			}
		}
		return names, cobra.ShellCompDirectiveNoSpace
	})
	return s
}

// fileFlag gives the command a flag for the configuration file of a service.
func (s *settings) fileFlag(name string, service config.Service) {
	to := &s.gatewayFile
	if service == config.ServiceManager {
		to = &s.managerFile
	}
	s.flags.StringVar(to, name, "", fmt.Sprintf("configuration `FILE` of the %s, such as %s", service, service.ExampleFile()))
}

// keyFlags gives the command the flags of a service's keys that keep wants. A
// name that is taken already stays what it is.
func (s *settings) keyFlags(service config.Service, keep func(config.Key) bool) {
	for _, k := range config.Keys(service) {
		if k.Flag == "" || s.flags.Lookup(k.Flag) != nil || !keep(k) {
			continue
		}
		usage := flagUsage(k)
		if k.Kind == config.KindBool {
			s.flags.Bool(k.Flag, k.Default == "true", usage)
		} else {
			s.flags.Var(&textValue{text: k.Default, is: valueName(k)}, k.Flag, usage)
		}
		s.own = append(s.own, ownFlag{flag: s.flags.Lookup(k.Flag), key: k})
	}
}

// textValue is a flag's value as text: package config makes sense of it, so that
// files, variables and flags are judged by the same rules.
type textValue struct{ text, is string }

// String implements pflag.Value.
func (v *textValue) String() string { return v.text }

// Set implements pflag.Value.
func (v *textValue) Set(s string) error { v.text = s; return nil }

// Type implements pflag.Value; it stands for the value in the help.
func (v *textValue) Type() string { return v.is }

// flagUsage is the first sentence of a key's doc.
func flagUsage(k config.Key) string {
	text, _, _ := strings.Cut(k.Doc, ". ")
	return strings.ToLower(text[:1]) + strings.TrimSuffix(text[1:], ".")
}

// valueName stands for a key's value in the help.
func valueName(k config.Key) string {
	switch k.Kind {
	case config.KindListen, config.KindDial:
		return "HOST:PORT"
	case config.KindFile:
		return "FILE"
	case config.KindDuration:
		return "DURATION"
	case config.KindChoice:
		return strings.NewReplacer(", ", "|", " or ", "|").Replace(k.Values)
	default:
		return "TEXT"
	}
}

// sources is everything that the configuration is loaded from.
func (s *settings) sources() (config.Sources, error) {
	src := config.Sources{
		GatewayFile: s.gatewayFile, ManagerFile: s.managerFile, ReadFile: s.g.readFile, Environ: s.g.environ,
	}
	for _, own := range s.own {
		if own.flag.Changed {
			src.Flags = append(src.Flags, config.Flag{
				Name: "--" + own.flag.Name, Service: own.key.Service, Key: own.key.Path, Value: own.flag.Value.String(),
			})
		}
	}
	for _, pair := range s.pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return config.Sources{}, usagef("--set %q: want KEY=VALUE, as in --set bucket.Num=8", pair)
		}
		src.Flags = append(src.Flags, config.Flag{Name: "--set", Key: key, Value: value})
	}
	return src, nil
}

// gateway loads the configuration of a gateway.
func (s *settings) gateway() (*config.Gateway, error) {
	src, err := s.sources()
	if err != nil {
		return nil, err
	}
	c, err := config.LoadGateway(src)
	if err != nil {
		return nil, configurationError(err)
	}
	return c, nil
}

// manager loads the configuration of a manager.
func (s *settings) manager() (*config.Manager, error) {
	src, err := s.sources()
	if err != nil {
		return nil, err
	}
	c, err := config.LoadManager(src)
	if err != nil {
		return nil, configurationError(err)
	}
	return c, nil
}

// both loads the configurations of a process that runs both services.
func (s *settings) both() (*config.Manager, *config.Gateway, error) {
	src, err := s.sources()
	if err != nil {
		return nil, nil, err
	}
	m, g, err := config.LoadServe(src)
	if err != nil {
		return nil, nil, configurationError(err)
	}
	return m, g, nil
}

// configurationError makes exit code 2 of what is wrong with a configuration,
// each problem on a line of its own.
func configurationError(err error) error {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) == 1 {
		return withExitCode(exitUsage, fmt.Errorf("configuration: %w", err))
	}
	return withExitCode(exitUsage, &listedError{
		head: fmt.Sprintf("%d problems in the configuration:", len(lines)), err: err,
	})
}

// listedError shows an error of several lines below a head.
type listedError struct {
	head string
	err  error
}

// Error is the head and the lines, indented.
func (e *listedError) Error() string {
	return e.head + "\n  " + strings.ReplaceAll(e.err.Error(), "\n", "\n  ")
}

// Unwrap returns what is listed.
func (e *listedError) Unwrap() error { return e.err }

// newConfigurationTopic is `firetower help configuration`.
func newConfigurationTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString(`A service is configured by a file, the environment and flags; the later wins:

  default < file (--config) < environment (FIRETOWER_...) < flag

The name of a variable is that of the key, as FIRETOWER_BUCKET_BUFF_CHAN_COUNT
for bucket.BuffChanCount. Where both services have a key with different meanings,
'serve' wants to know which one: FIRETOWER_GATEWAY_HEARTBEAT, or --set
manager.heartbeat=5s. Variables for the service that is not running are ignored.

Durations need a unit ("30s"), sizes may have one ("64KiB"), lists have commas
in the environment and in flags. What is unknown or cannot work is refused.

  firetower config example gateway    the file with every key, its default and meaning
  firetower config print gateway      what is in force, and where each value came from
  firetower config check --config F   is it right?
`)
	for _, service := range []config.Service{config.ServiceGateway, config.ServiceManager} {
		fmt.Fprintf(&b, "\nKeys of the %s:\n", service)
		for _, k := range config.Keys(service) {
			value := k.Default
			if value == "" {
				value = `""`
			}
			line := fmt.Sprintf("  %-28s %-16s %s", k.Path, value, k.Env)
			if k.Flag != "" {
				line += "  --" + k.Flag
			}
			b.WriteString(line + "\n")
		}
	}
	return &cobra.Command{Use: "configuration", Short: "Files, variables and flags, and every key", Long: b.String()}
}
