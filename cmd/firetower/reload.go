package main

import (
	"firetower/core/gateway"
)

// reloadOnHangup lets each SIGHUP read the certificate of a gateway anew until stop
// is called. Without TLS there is nothing to read, and SIGHUP does what it always does.
func reloadOnHangup(g *globalState, gw *gateway.Gateway, o gateway.TLSOptions) (stop func()) {
	if o.CertFile == "" {
		return func() {}
	}
	hangups, ignore := g.hangups()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-hangups:
				_ = gw.ReloadCertificate() // the gateway logs it
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
