package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"firetower/config"
	"firetower/core/gateway"
)

func newGatewayCommand(g *globalState) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run a gateway: it holds WebSocket connections",
		Long: `Gateway takes WebSocket clients on --listen and links to the manager at
--manager-link and --manager-grpc. Run as many as the clients need; each tells
the manager which topics have subscribers on it.
` + stopText,
		Example: `  firetower gateway
  firetower gateway --listen :9999 --manager-link 10.0.0.1:6666 --manager-grpc 10.0.0.1:6667`,
		Args: noArgs,
	}
	s := newSettings(g, cmd)
	s.fileFlag("config", config.ServiceGateway)
	s.keyFlags(config.ServiceGateway, func(config.Key) bool { return true })
	announced := announceFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.gateway()
		if err != nil {
			return err
		}
		return runGateway(cmd.Context(), g, c, *announced)
	}
	return cmd
}

func runGateway(ctx context.Context, g *globalState, c *config.Gateway, announced bool) error {
	opts := gatewayOptions(c)
	if err := opts.Validate(); err != nil {
		return configurationError(err)
	}
	log := newLogger(g, c.Log)
	opts.Logger = log
	opts.Registry = newRegistry()
	applyRuntime(g, log, c.Runtime)
	defer applyProcessors(ctx, g, log, c.Runtime, false)()
	warnNotices(log, c.Notices())
	tokens, err := authenticate(&opts, c)
	if err != nil {
		return err
	}
	gw, err := gateway.New(opts)
	if err != nil {
		return err
	}
	defer reloadOnHangup(g, gw, tokens)()
	run := start(ctx, "gateway", gw)
	// A wrong address and a manager that is not up yet look the same.
	noManager := func() {
		log.Warn("no manager yet: start one with 'firetower manager', or correct --manager-link and --manager-grpc",
			"manager_link", opts.ManagerLink, "manager_grpc", opts.ManagerGRPC)
	}
	if run.awaitReady(ctx, g.after(linkWait), noManager) {
		log.Info("gateway ready", "listen", addrText(gw.Addr()), "http", addrText(gw.HTTPAddr()), "cluster_id", gw.ClusterID(),
			"manager_link", opts.ManagerLink, "version", opts.Version)
		if announced {
			err = announce(g, gatewayAnnouncement(gw))
		}
		if err == nil {
			select {
			case <-ctx.Done():
			case <-run.ended:
			}
		}
	}
	return joinListen(err, run.finish(), gatewayListening(c, "--http"))
}

// gatewayAnnouncement tells where a gateway listens.
func gatewayAnnouncement(gw *gateway.Gateway) announcement {
	return announcement{Role: "gateway", Listen: addrText(gw.Addr()), HTTP: addrText(gw.HTTPAddr())}
}

// gatewayListening tells which flag moves which address.
func gatewayListening(c *config.Gateway, httpFlag string) []listening {
	return []listening{{c.Gateway.Listen.String(), "--listen"}, {c.HTTP.Address.String(), httpFlag}}
}

// joinListen is the error of a service's run: what the command itself met, and
// what the service did, with what to do about an address that is taken.
func joinListen(err, runErr error, at []listening) error {
	return errors.Join(err, explainListen(runErr, at...))
}
