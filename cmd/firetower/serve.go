package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"firetower/config"
	"firetower/core/gateway"
	"firetower/core/manager"
)

func newServeCommand(g *globalState) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a manager and a gateway in one process, ready to use",
		Long: `Serve runs a manager and a gateway in one process. It needs no configuration: it
listens on this machine only, at 9999 for WebSocket clients, 8000 for the
dashboard, 6666 and 6667 for further gateways and for publishing.

The gateway of serve always talks to the manager of serve: topicServiceAddr and
grpc.address of a gateway's configuration have no effect here.
` + stopText,
		Example: `  firetower serve
  firetower serve --listen :9999 --config fireTower.toml --manager-config topicmanage.toml`,
		Args: noArgs,
	}
	s := newSettings(g, cmd)
	s.fileFlag("config", config.ServiceGateway)
	s.fileFlag("manager-config", config.ServiceManager)
	s.keyFlags(config.ServiceManager, func(config.Key) bool { return true })
	s.keyFlags(config.ServiceGateway, func(k config.Key) bool { return !k.UnusedInServe })
	announced := announceFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, gw, err := s.both()
		if err != nil {
			return err
		}
		return runServe(cmd.Context(), g, m, gw, *announced)
	}
	return cmd
}

func runServe(ctx context.Context, g *globalState, mc *config.Manager, gc *config.Gateway, announced bool) error {
	mopts, gopts := managerOptions(mc), gatewayOptions(gc)
	if err := errors.Join(mopts.Validate(), gopts.Validate()); err != nil {
		return configurationError(err)
	}
	log := newLogger(g, mc.Log)
	registry := newRegistry()
	mopts.Logger, gopts.Logger = log, log
	mopts.Registry, gopts.Registry = registry, registry
	applyRuntime(g, log, mc.Runtime) // the gateway's is the same: the keys are shared
	defer applyProcessors(ctx, g, log, mc.Runtime, false)()
	warnNotices(log, append(mc.Notices(), gc.Notices()...))
	warnOpen(log, mc.Link.Token, mc.SocketAddress, mc.GRPCAddress)

	m, err := manager.New(mopts)
	if err != nil {
		return err
	}
	managerRun := start(ctx, "manager", m)
	if managerRun.awaitReady(ctx, nil, nil) {
		// Port 0 is a free port: only now is it known where the manager is.
		gopts.ManagerLink = reachable(addrText(m.Addrs().Link))
		gopts.ManagerGRPC = reachable(addrText(m.Addrs().GRPC))
		err = serveGateway(ctx, g, gopts, gc, managerRun, m, announced)
	}
	return joinListen(err, managerRun.finish(), managerListening(mc))
}

// serveGateway runs the gateway until ctx or either service ends. It is stopped
// before the manager, so that what its clients publish last still goes out.
func serveGateway(ctx context.Context, g *globalState, opts gateway.Options, c *config.Gateway,
	managerRun *running, m *manager.Manager, announced bool,
) error {
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
	if run.awaitReady(ctx, nil, nil) {
		at := managerAnnouncement(m)
		at.Role, at.Listen = "serve", addrText(gw.Addr())
		switch {
		case announced:
			err = announce(g, at)
		case c.Log.Format == "text":
			err = banner(g.stderr, at, opts.Path, c)
		}
		if err == nil {
			select {
			case <-ctx.Done():
			case <-run.ended:
			case <-managerRun.ended:
			}
		}
	}
	return joinListen(err, run.finish(), gatewayListening(c, "--set gateway.http.address="))
}

// banner greets a person and says what to try next.
func banner(w io.Writer, at announcement, path string, c *config.Gateway) error {
	url := gatewayURL(at.Listen, path, c.TLS.CertFile != "")
	subscribe, publish := "firetower subscribe room-1", "firetower publish room-1 '\"hello\"'"
	if url != "ws://127.0.0.1:9999/ws" {
		subscribe += " --url " + url
	}
	if c.Auth.On() && !c.Auth.Anonymous {
		subscribe += ` --header "Authorization: Bearer $TOKEN"     ('firetower token' makes one)`
	}
	if grpc := reachable(at.GRPC); grpc != "127.0.0.1:6667" {
		publish += " --manager-grpc " + grpc
	}
	dashboard := ""
	if at.HTTP != "" {
		dashboard = fmt.Sprintf("\n  dashboard  http://%s/", reachable(at.HTTP))
	}
	_, err := fmt.Fprintf(w, `
Firetower is up.
  clients    %s%s
  gateways   link %s, gRPC %s

Try, in two other terminals:
  %s
  %s
Ctrl-C stops it.

`, url, dashboard, at.Link, at.GRPC, subscribe, publish)
	return err
}
