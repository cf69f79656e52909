package main

import (
	"firetower/core/auth"
	"firetower/core/gateway"
)

// reloadOnHangup lets each SIGHUP read the certificate of a gateway, and the keys of its tokens, anew until stop
// is called. Without either there is nothing to read, and SIGHUP does what it always does.
func reloadOnHangup(g *globalState, gw *gateway.Gateway, tokens *auth.Verifier) (stop func()) {
	if !gw.ServesTLS() && tokens == nil {
		return func() {}
	}
	hangups, ignore := g.hangups()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-hangups: // what goes wrong is logged
				if gw.ServesTLS() {
					_ = gw.ReloadCertificate()
				}
				if tokens != nil {
					_ = tokens.Reload()
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		ignore()
		close(done)
		<-ended
	}
}
