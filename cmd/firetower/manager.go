package main

import (
	"context"

	"github.com/spf13/cobra"

	"firetower/config"
	"firetower/core/manager"
)

func newManagerCommand(g *globalState) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run a manager: it knows which gateway has subscribers of what",
		Long: `Manager runs the topic registry and the bus between gateways. Gateways link to
--link and call --grpc; people and monitors look at --http.
` + stopText,
		Example: `  firetower manager
  firetower manager --link :6666 --grpc :6667 --token-file /run/secrets/firetower`,
		Args: noArgs,
	}
	s := newSettings(g, cmd)
	s.fileFlag("config", config.ServiceManager)
	s.keyFlags(config.ServiceManager, func(config.Key) bool { return true })
	announced := announceFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.manager()
		if err != nil {
			return err
		}
		return runManager(cmd.Context(), g, c, *announced)
	}
	return cmd
}

func runManager(ctx context.Context, g *globalState, c *config.Manager, announced bool) error {
	opts := managerOptions(c)
	if err := opts.Validate(); err != nil {
		return configurationError(err)
	}
	opts.Logger = newLogger(g, c.Log)
	opts.Registry = newRegistry()
	applyRuntime(g, opts.Logger, c.Runtime)
	defer applyProcessors(ctx, g, opts.Logger, c.Runtime, true)()
	warnNotices(opts.Logger, c.Notices())
	warnOpen(opts.Logger, c.Link.Token, c.SocketAddress, c.GRPCAddress)
	m, err := manager.New(opts)
	if err != nil {
		return err
	}
	run := start(ctx, "manager", m)
	if run.awaitReady(ctx, nil, nil) {
		if announced {
			err = announce(g, managerAnnouncement(m))
		}
		if err == nil {
			select {
			case <-ctx.Done():
			case <-run.ended:
			}
		}
	}
	return joinListen(err, run.finish(), managerListening(c))
}

// managerAnnouncement tells where a manager listens.
func managerAnnouncement(m *manager.Manager) announcement {
	at := m.Addrs()
	return announcement{Role: "manager", Link: addrText(at.Link), GRPC: addrText(at.GRPC), HTTP: addrText(at.HTTP)}
}

// managerListening tells which flag moves which address.
func managerListening(c *config.Manager) []listening {
	return []listening{
		{c.SocketAddress.String(), "--link"}, {c.GRPCAddress.String(), "--grpc"}, {c.HTTP.Address.String(), "--http"},
	}
}
